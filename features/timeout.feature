Feature: A session that was idle too long is closed
  Claims 7 and 8: the time elapsed since the token's timestamp is compared with
  a predetermined maximum by the server's clock, and a session over it is
  closed. At the maximum itself the claims say nothing, so these scenarios keep
  a margin from it.

  Rule: The elapsed time counts from the last page (claim 7)

    @timeout.fresh-session @WF-7.1 @fault:F27
    Scenario: A session just begun is not timed out
      When Ada logs in at server 1
      Then the farm serves it

    @timeout.just-inside @WF-7.1 @ASVS-7.3.1 @time @fault:M301
    Scenario: Idle for almost the whole time-out, the session still works
      Given Ada is signed in
      When almost the whole idle time-out passes
      And Ada visits the page on server 2
      Then the farm serves Ada

    @timeout.just-outside @WF-7.1 @ASVS-7.3.1 @ASVS-9.2.1 @NIST-5.1.timeout @NIST-5.2.either @time @fault:F31
    Scenario Outline: Idle for longer than the time-out, the session is refused at server <server>
      Given Ada is signed in at server <server>
      When the idle time-out passes
      And Ada visits the page on server <server>
      Then the farm refuses Ada

      Examples:
        | server |
        | 1      |
        | 2      |

    @timeout.hop-refused @WF-7.1 @WF-7.5 @time @fault:M303
    Scenario: A hop after the time-out is refused, brings no token and renews nothing
      Given Ada is signed in
      And Ada has visited the page on server 2
      And Ada has visited the page on server 1
      When the idle time-out passes
      And Ada asks server 1 for the page on server 2
      Then the farm refuses Ada
      And it brought no token
      When Ada asks server 1 for the page on server 2
      Then the farm refuses Ada

    @timeout.activity-extends @WF-7.1 @time @fault:F28
    Scenario: Every page starts the time anew
      Given Ada is signed in
      When three quarters of the idle time-out pass
      And Ada visits the page on server 2
      Then the farm serves Ada
      When three quarters of the idle time-out pass
      And Ada visits the page on server 1
      Then the farm serves Ada
      When three quarters of the idle time-out pass
      And Ada visits the page on server 2
      Then the farm serves Ada

    @timeout.refusal-renews-nothing @WF-7.1 @WF-7.5 @time @fault:M304
    Scenario: A refused request does not start the time anew
      Given Ada is signed in
      When the idle time-out passes
      And Ada visits the page on server 1
      Then the farm refuses Ada
      When Ada visits the page on server 1
      Then the farm refuses Ada

    @timeout.strangers-renew-nothing @WF-7.1 @time @replay:reject @fault:M305
    Scenario: Somebody else's refused request does not keep a session alive
      Given Ada is signed in
      And Ada has visited the page on server 2
      And Ada has visited the page on server 1
      When three quarters of the idle time-out pass
      And Mallory presents Ada's first token
      Then the farm refuses it
      When half the idle time-out passes
      And Ada visits the page on server 1
      Then the farm refuses Ada

    @timeout.verification-renews-nothing @WF-7.1 @level:W @needs:service @needs:keys @time @fault:M306
    Scenario: Verifying a token without replacing it does not start the time anew
      Given Ada is signed in
      When three quarters of the idle time-out pass
      Then the session service verifies Ada's token
      When half the idle time-out passes
      And Ada visits the page on server 1
      Then the farm refuses Ada

    @timeout.to-the-second @WF-7.1 @WF-7.2 @ASVS-7.3.1 @ASVS-9.2.1 @level:W @needs:clock @time @members:2 @fault:M307
    Scenario Outline: At server <server> the time-out holds to a few seconds
      Given Ada is signed in at server <server>
      When all but ten seconds of the idle time-out pass
      And Ada visits the page on server <server>
      Then the farm serves Ada
      When the idle time-out and a second pass
      And Ada visits the page on server <server>
      Then the farm refuses Ada

      Examples:
        | server |
        | 1      |
        | 2      |

    @timeout.service-compares @WF-7.1 @SY-19.1 @level:G @needs:trace @fault:M308
    Scenario: The session service compares the elapsed time, no server does
      Given Ada is signed in
      When Ada visits the page on server 2
      Then the farm serves Ada
      And inside the farm the service did "elapsed"
      And inside the farm server 1 did not do "elapsed"
      And inside the farm server 2 did not do "elapsed"

  Rule: One maximum for all servers

    @timeout.same-at-every-server @WF-7.2 @ASVS-7.1.1 @time @fault:M309
    Scenario: The time-out is the same at every server
      Given two people are signed in at each server
      When almost the whole idle time-out passes
      Then the farm serves one of them at each server
      When a little more time passes
      Then the farm refuses the other one at each server

  Rule: The time is the server's

    @timeout.cookie-age-means-nothing @WF-7.3 @WSTG-SESS-07 @NIST-5.1.1.expiry @time @fault:F26
    Scenario: A cookie kept longer than its browser would keep it is refused
      Given Ada is signed in
      And Mallory has a copy of Ada's token
      When the idle time-out passes
      And Mallory presents the copy
      Then the farm refuses it

    @timeout.date-of-request-means-nothing @WF-7.3 @time @fault:M310
    Scenario: A request that claims to be of an earlier date is refused
      Given Ada is signed in
      When the idle time-out passes
      And Ada asks for the page again, and dates her request back to her last page
      Then the farm refuses it

    @timeout.clocks-of-servers @WF-7.3 @SY-19.1 @level:W @needs:clock @time @fault:F29
    Scenario Outline: <The clock> ends no session and prolongs none
      Given Ada is signed in at server 1
      And Ben is signed in at server 2
      When the clock of server <server> is <off> by twice the idle time-out
      And Ada visits the page on server <server>
      Then the farm serves Ada
      When the idle time-out passes
      And Ben visits the page on server 2
      Then the farm refuses Ben

      Examples:
        | The clock                    | server | off    |
        | A clock of server 1 ahead    | 1      | ahead  |
        | A clock of server 2 ahead    | 2      | ahead  |
        | A clock of server 1 behind   | 1      | behind |
        | A clock of server 2 behind   | 2      | behind |

    @timeout.future-token @WF-7.4 @level:W @needs:keys @needs:database @fault:M311
    Scenario: A token from the future is refused, even where the database has it so
      Given Ada is signed in
      And Ada's token is stored and sealed again with the present time
      And Ada has visited the page on server 1
      When Ada's token is stored and sealed again with a time far ahead
      And Ada visits the page on server 1
      Then the farm refuses Ada

    @timeout.future-timestamp @WF-7.4 @level:G @needs:service @mode:claimed @fault:M312
    Scenario: The session service refuses a timestamp that lies ahead
      Given Ada is signed in
      When Ada's token is read from her next hand-off
      Then the session service verifies it
      And the session service refuses it with a timestamp far ahead

  Rule: A session that timed out is closed (claim 8)

    @timeout.stays-closed @WF-8.1 @WSTG-SESS-07 @time @fault:M364
    Scenario: After the refusal the same token stays refused, and a new log-in is another session
      Given Ada is signed in
      And Mallory has a copy of Ada's token
      When the idle time-out passes
      And Ada visits the page on server 1
      Then the farm refuses Ada
      When Ada signs in again
      And Mallory presents the copy
      Then the farm refuses it
      And Ada is still signed in

    @timeout.administrator-sees-it @WF-8.1 @AJ-0.2 @level:G @needs:admin @time @fault:F32
    Scenario: The administrator sees the session closed, with the reason
      Given Ada is signed in
      When the idle time-out passes
      And Ada visits the page on server 1
      Then the farm refuses Ada
      And the administrator sees Ada's session closed, with a reason

    @timeout.row-closed @WF-8.1 @AJ-0.2 @level:W @needs:database @time @fault:F32
    Scenario: In the database the session is closed
      Given Ada is signed in
      When the idle time-out passes
      And Ada visits the page on server 1
      Then the farm refuses Ada
      And in the database Ada has no open session

    @timeout.service-closes @SY-20.1 @level:G @needs:trace @time @fault:F32
    Scenario: The session service closes the session, no server does
      Given Ada is signed in
      When the idle time-out passes
      And Ada visits the page on server 1
      Then the farm refuses Ada
      And inside the farm the service did "close" at the database
      And inside the farm no server spoke to the database

    @timeout.clock-set-back @WF-8.1 @level:W @needs:clock @time @fault:F32
    Scenario: Setting the farm's clock back does not open a closed session
      Given Ada is signed in
      When the idle time-out passes
      And Ada visits the page on server 1
      Then the farm refuses Ada
      When the farm's clock is set back by twice the idle time-out
      And Ada visits the page on server 1
      Then the farm refuses Ada

    @timeout.clock-stepped-back @WF-8.1 @level:W @needs:clock @time @fault:F30
    Scenario: A session that timed out unnoticed does not live on when the clock is set back
      Given Ada is signed in
      When the idle time-out passes
      And Ben signs in
      And the farm's clock is set back by twice the idle time-out
      And Ada visits the page on server 1
      Then the farm refuses Ada

    @timeout.ends-every-http-session @WF-8.2 @AJ-3.4 @AJ-6.4 @AJ-0.1 @time @fault:F46
    Scenario: The time-out ends every HTTP session of the session
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      And Ada has given the application on server 2 a value
      And Mallory has a copy of Ada's token
      When the idle time-out passes
      Then the copy is refused by every application
      When Ada signs in again
      Then the application on server 1 shows Ada nothing of before
      And the application on server 2 shows Ada nothing of before

    @timeout.ends-live-http-sessions @AJ-3.4 @AJ-0.3 @AJ-X5 @level:G @needs:admin @needs:fork @time @fault:M313
    Scenario: The session's time-out ends HTTP sessions that have time left
      Given a farm whose sessions time out before its HTTP sessions do
      And Ada is signed in
      And Ada has given the application on server 1 a value
      And Ada has given the application on server 2 a value
      When the idle time-out passes
      And Ada asks server 1 for the page on server 1
      Then the farm refuses Ada
      And the administrator sees no open session of Ada
      And the administrator sees no HTTP session of Ada
      When Ada signs in again
      Then the application on server 1 shows Ada nothing of before

    @timeout.ends-live-http-sessions-exactly @AJ-3.4 @AJ-0.3 @AJ-6.4 @level:W @needs:clock @needs:fork @needs:database @time @fault:M313
    Scenario: HTTP sessions with time left end to the second with their session
      Given a farm whose sessions time out before its HTTP sessions do
      And Ada is signed in
      And Ada has given the application on server 1 a value
      When all but ten seconds of the idle time-out pass
      And Ada opens the application on server 1
      Then it shows Ada's value
      When the idle time-out and a second pass
      And Ada opens the application on server 1
      Then the farm refuses it
      And in the database Ada has no HTTP session

    @timeout.sibling-lives @WF-8.3 @time @feature:concurrent-sessions @fault:M314
    Scenario: Another session of the same user lives on
      Given Ada is signed in
      When three quarters of the idle time-out pass
      And Ada signs in on her phone as well
      And half the idle time-out passes
      And Ada visits the page on server 1
      Then the farm refuses Ada
      And Ada's phone is still signed in

  Rule: Rotation does not move the absolute lifetime

    @timeout.absolute-lifetime @ASVS-7.3.2 @ASVS-7.1.1 @NIST-5.2.activity @NIST-5.2.either @time @fault:F34 @fault:M315
    Scenario: A session in constant use ends at its absolute lifetime
      Given Ada is signed in
      When Ada goes on visiting pages until almost the absolute lifetime is over
      Then every page was served
      When a little more time passes
      And Ada visits the page on server 1
      Then the farm refuses Ada
