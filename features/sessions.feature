Feature: One security session for each log-in, one HTTP session for each application under it
  The AS Java text: authentication is kept in a security session at the server;
  applications keep what they remember in HTTP sessions that are mapped to it,
  live no longer than it does, and end it with the last of them.

  Rule: State is kept as long as the session needs it

    @state.kept-over-rotations @AJ-0.1 @AJ-1.1 @AJ-2.2 @AJ-2.5 @fault:M316
    Scenario: What an application remembers is there after many pages, asked for at another server
      Given Ada is signed in
      And Ada has given the application on server 2 a value
      When Ada goes 3 times around all servers
      And Ada opens the application on server 2 by way of server 1
      Then it shows Ada's value

    @state.gone-after-end @AJ-0.1 @AJ-6.1 @feature:log-out @fault:F46
    Scenario: What an application remembers is gone with the session
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      When Ada logs out
      And Ada signs in again
      Then the application on server 1 shows Ada nothing of before

    @state.in-database @AJ-0.1 @AJ-1.1 @AJ-2.2 @level:W @needs:database @feature:log-out @fault:M317
    Scenario: What an application remembers is in the common database until the session ends
      Given Ada is signed in
      When Ada has given the application on server 2 a value
      Then Ada's value is in the database
      When Ada logs out
      Then Ada's value is not in the database

    @state.many-browsers @AJ-1.2 @fault:M367
    Scenario: Many people at once are each shown what they gave, and nothing of the others
      When 30 people use the application on server 1 at the same time
      Then each of them was shown what he gave, and nothing of the others

    @state.request-of-another-between @AJ-1.2 @level:G @needs:holds @fault:F55
    Scenario: A request of another user in the middle of one's own changes nothing
      Given Ada is signed in
      And Ben is signed in
      And Ada has given the application on server 1 a value
      And Ben has given the application on server 1 a value
      When Ada asks for the application on server 1 and the request is held while the page is made
      And Ben opens the application on server 1
      And the held request goes on
      Then it shows Ada's value
      And it shows nothing of Ben's

    @state.open-page-begins-nothing @AJ-1.3 @AJ-4.1 @feature:open-page @fault:M318
    Scenario: A page without state begins no session
      When Ben opens the open page without having signed in
      Then it is shown
      And Ben carries no token

    @state.pages-create-none @AJ-1.3 @AJ-4.2 @AJ-2.3 @level:G @needs:admin @fault:M319
    Scenario: Pages without state create no HTTP session, an application creates its own
      Given Ada is signed in
      When Ada goes 1 times around all servers
      Then the administrator sees 1 open session of Ada with 0 HTTP sessions
      When Ada opens the application on server 1
      Then the administrator sees 1 open session of Ada with 1 HTTP session
      When Ada opens the application on server 2
      And Ada opens the application on server 1
      Then the administrator sees 1 open session of Ada with 2 HTTP sessions

  Rule: HTTP sessions are created by applications and tracked by the cookie

    @http.connection-is-no-session @AJ-2.1 @fault:M320
    Scenario: The connection is no session, the cookie is
      Given Ada is signed in
      When Ada visits the page on server 1 over one connection, then again over it without her cookie
      Then the farm refuses it
      When Ada visits the page on server 1 over a new connection with her cookie
      Then the farm serves it

    @http.first-requests-race @AJ-2.3 @AJ-4.4 @level:G @needs:admin @needs:holds @policy:coalesce @fault:M321
    Scenario: First requests that race for one application create one HTTP session
      Given Ada is signed in
      When 3 tabs of Ada open the application on server 1 and all are held while its HTTP session is registered
      Then the administrator sees 1 open session of Ada with 1 HTTP session
      And all tabs show the same HTTP session

    @http.first-calls-race @AJ-2.3 @level:W @needs:admin @needs:service @needs:keys @fault:M365
    Scenario: Of many calls at once for one application one creates its HTTP session
      Given Ada is signed in
      When 16 calls ask the session service at once for Ada's HTTP session of one application
      Then the administrator sees 1 open session of Ada with 1 HTTP session

    @http.registrations-race @AJ-4.4 @level:W @needs:admin @needs:service @needs:keys @feature:log-out @fault:M366
    Scenario: HTTP sessions created at the same time are all registered
      Given Ada is signed in
      When the session service is asked at once for Ada's HTTP session of every application
      Then the administrator sees 1 open session of Ada with an HTTP session of every application
      When Ada logs out
      Then the administrator sees no HTTP session of Ada

    @http.registrations-race-held @AJ-4.4 @level:G @needs:admin @needs:holds @policy:coalesce @feature:log-out @fault:F43
    Scenario: HTTP sessions whose creation is held together are all registered
      Given Ada is signed in
      When tabs of Ada open the two applications on server 1 and both are held while the HTTP session is registered
      Then the administrator sees 1 open session of Ada with 2 HTTP sessions
      When Ada logs out
      Then the administrator sees no HTTP session of Ada

    @http.applications-apart @AJ-2.4 @SERVLET-SCOPE @fault:M322
    Scenario: Two applications on one server keep their values apart
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      When Ada opens the other application on server 1
      Then it shows nothing of Ada's
      When Ada has given the other application on server 1 a value
      And Ada opens the application on server 1
      Then it shows Ada's value
      And it shows no value of the other application on server 1

    @http.forged-value @ASVS-3.5.1 @WSTG-SESS-05 @NIST-5.1.csrf @fault:M368
    Scenario: A value that the application's own form did not send is not remembered
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      When a page of Mallory's sends the application on server 1 a value in Ada's browser
      And Ada opens the application on server 1
      Then it shows Ada's value
      And it shows nothing of Mallory's

    @http.value-in-address @ASVS-3.5.3 @RFC-9110.9.2 @fault:M369
    Scenario: A value in an address is not remembered
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      When Ada follows a link of Mallory's with a value to the application on server 1
      And Ada opens the application on server 1
      Then it shows Ada's value
      And it shows nothing of Mallory's

    @http.created-without-page @AJ-2.5 @level:G @needs:service @needs:admin @mode:claimed @fault:M323
    Scenario: An HTTP session created at the service, without a page, obeys the same relations
      Given Ada is signed in
      When Ada's token is read from her next hand-off
      And the session service is asked with it for the HTTP session of the application on server 1
      Then the administrator sees 1 open session of Ada with 1 HTTP session
      When Ada ends the application on server 1
      Then the administrator sees no open session of Ada

    @http.created-without-page-inside @AJ-2.5 @AJ-4.3 @level:W @needs:service @needs:admin @needs:keys @feature:log-out @fault:M323
    Scenario: An HTTP session created at the service ends with its security session
      Given Ada is signed in
      When the session service is asked for Ada's HTTP session of the application on server 1
      Then the administrator sees 1 open session of Ada with 1 HTTP session
      When Ada logs out
      Then the administrator sees no HTTP session of Ada

    @http.malformed-cookie @AJ-2.6 @fault:M324
    Scenario Outline: A session cookie that is <malformed> counts as none
      When Ada's browser has a session cookie that is <malformed>
      Then she is asked to log in, as without a cookie
      When Ada logs in at server 1
      Then the farm serves it

      Examples:
        | malformed    |
        | no token     |
        | empty        |
        | far too long |

    @http.application-ends-its-own @AJ-2.7 @AJ-3.3 @feature:end-application @fault:M325 @fault:M326
    Scenario: An application that ends its HTTP session leaves the others alone
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      And Ada has given the other application on server 1 a value
      And Ada has given the application on server 2 a value
      When Ada ends the application on server 1
      And Ada opens the other application on server 1
      Then it shows Ada's value
      When Ada opens the application on server 2
      Then it shows Ada's value
      When Ada opens the application on server 1
      Then it shows nothing of Ada's

    @http.application-ends-its-own-listed @AJ-2.7 @level:G @needs:admin @feature:end-application @fault:M325 @fault:M326
    Scenario: The HTTP session that an application ended is no longer listed
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      And Ada has given the application on server 2 a value
      When Ada ends the application on server 1
      Then the administrator sees 1 open session of Ada with 1 HTTP session
      And the administrator sees no HTTP session of the application on server 1 for Ada

    @http.expires-by-itself @AJ-2.8 @AJ-6.4 @AJ-0.3 @AJ-X5 @time @fault:M327 @fault:M328
    Scenario: An idle HTTP session expires, and use of another does not extend it
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      And Ada has given the application on server 2 a value
      When almost the idle time-out of the application on server 1 passes
      And Ada opens the application on server 2
      Then it shows Ada's value
      When a little more time passes
      And Ada opens the application on server 2
      Then it shows Ada's value
      When Ada opens the application on server 1
      Then it shows nothing of Ada's

    @http.use-extends @AJ-2.8 @time @fault:M329
    Scenario: Use of an application extends its HTTP session
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      When almost the idle time-out of the application on server 1 passes
      And Ada opens the application on server 1
      Then it shows Ada's value
      When almost the idle time-out of the application on server 1 passes
      And Ada opens the application on server 1
      Then it shows Ada's value

    @http.expires-exactly @AJ-2.8 @AJ-6.4 @AJ-0.3 @level:W @needs:clock @time @fault:M327
    Scenario: An HTTP session's time-out holds to a few seconds
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      And Ada has given the application on server 2 a value
      When all but ten seconds of the idle time-out of the application on server 1 pass
      And Ada opens the application on server 1
      Then it shows Ada's value
      When all but ten seconds of the idle time-out of the application on server 1 pass
      And Ada opens the application on server 2
      And eleven seconds pass
      And Ada opens the application on server 1
      Then it shows nothing of Ada's

  Rule: The security session begins with a successful log-in

    @login.cookie-names-nobody @AJ-3.1 @NIST-5.1.1.personal @fault:M330
    Scenario: What the browser carries does not say who is logged in
      Given Ada is signed in
      When Ada visits the page on server 2
      Then the farm serves Ada
      And no cookie of Ada's browser shows her name

    @login.user-in-database @AJ-3.1 @level:W @needs:database @fault:M331
    Scenario: The database has the security session, with its user
      When Ada logs in at server 1
      Then the farm serves it
      And in the database Ada has 1 open session

    @login.begins-a-session @AJ-3.2 @AJ-4.1 @AJ-5.2 @fault:M332
    Scenario: A good log-in brings a token and the pages of that user
      When Ada logs in at server 1
      Then the farm serves it
      And Ada carries a token

    @login.begins-exactly-one @AJ-3.2 @AJ-4.1 @AJ-5.2 @level:G @needs:admin @fault:M333
    Scenario: A good log-in adds exactly one session, of that user
      Given the administrator sees no open session of Ada
      When Ada logs in at server 1
      Then the farm serves it
      And the administrator sees 1 open session of Ada with 0 HTTP sessions

    @login.begins-exactly-one-row @AJ-3.2 @AJ-4.1 @AJ-5.2 @level:W @needs:database @fault:M333
    Scenario: A good log-in adds exactly one row, of that user
      Given in the database Ada has no open session
      When Ada logs in at server 1
      Then the farm serves it
      And in the database Ada has 1 open session

    @login.bad-begins-nothing @AJ-3.2 @AJ-4.1 @AJ-5.2 @WSTG-SESS-08 @fault:M334 @fault:M362 @fault:M363 @fault:M637
    Scenario Outline: <A bad log-in> begins no session
      Given Ben has logged in the same way with success
      When Ada's browser makes <A bad log-in>
      Then Ada carries no token
      And Ada is refused the page on server 1

      Examples:
        | A bad log-in                             |
        | a log-in with a wrong password           |
        | a log-in of nobody the farm knows        |
        | a log-in that is never sent              |
        | a copy of Ben's log-in, without its form |

    @login.bad-begins-nothing-listed @AJ-3.2 @AJ-4.1 @AJ-5.2 @level:G @needs:admin @fault:M335
    Scenario: After a bad log-in the administrator sees no session
      When Ada's browser makes a log-in with a wrong password
      Then the administrator sees no open session of Ada

    @login.bad-begins-no-row @AJ-3.2 @AJ-4.1 @AJ-5.2 @level:W @needs:database @fault:M335
    Scenario: After a bad log-in the database has no session
      When Ada's browser makes a log-in with a wrong password
      Then in the database Ada has no open session

    @login.fresh-token @AJ-3.2 @ASVS-7.2.4 @fault:F48
    Scenario: To log in again brings a fresh token and ends the session before
      Given Ada is signed in
      And Mallory has a copy of Ada's token
      When Ada logs in at server 1, and goes nowhere yet
      And Mallory presents the copy
      Then the farm refuses it
      And Ada is still signed in

    @login.planted-token @AJ-3.2 @ASVS-7.2.4 @RFC-6265bis.ports @WSTG-SESS-03 @fault:F48
    Scenario: A token planted before log-in is good for nothing after it
      Given Mallory is signed in
      When Ada's browser is given Mallory's current token
      And Ada logs in at server 1, and goes nowhere yet
      And Mallory presents the planted token
      Then Mallory does not see Ada's page
      And Ada is still signed in

    @login.leads-to-the-page @AJ-5.1 @feature:return-to-page @fault:M336
    Scenario Outline: Asked at server <server>, the application waits behind the log-in and opens after it
      When Ada asks server <server> for the application on server 2 without having signed in
      Then she is asked to log in
      When Ada fills the log-in form she was shown
      Then the application she asked for opens

      Examples:
        | server |
        | 1      |
        | 2      |

    @login.order-of-creation @AJ-5.3 @level:G @needs:trace @fault:M337
    Scenario: The security session comes first, then the HTTP session under it
      When Ada asks server 1 for the application on server 2 without having signed in
      And Ada fills the log-in form she was shown
      Then the application she asked for opens
      And inside the farm the security session was created before any HTTP session

    @http.never-without-security-session @AJ-5.3 @level:G @needs:holds @needs:admin @fault:M338
    Scenario: An HTTP session whose security session ends before the mapping is never usable
      Given Ada is signed in
      When Ada asks for the application on server 1 and the request is held while its HTTP session is registered
      And the administrator ends all sessions of Ada
      And the held request goes on
      Then the farm does not serve that page
      And the administrator sees no HTTP session of Ada
      And nothing that Ada carried works any more

  Rule: HTTP sessions map to the security session that is there

    @security.one-log-in-for-all @AJ-4.3 @AJ-5.4 @fault:M339
    Scenario: After one log-in every application opens
      Given Ada is signed in
      Then every application opens for Ada without another log-in

    @security.one-session-for-all @AJ-4.3 @AJ-5.4 @AJ-4.2 @AJ-2.4 @level:G @needs:admin @fault:M340
    Scenario: All HTTP sessions of a user are listed under one security session
      Given Ada is signed in
      When every application opens for Ada without another log-in
      Then the administrator sees 1 open session of Ada with an HTTP session of every application

    @security.one-row-for-all @AJ-4.3 @AJ-5.4 @AJ-4.5 @level:W @needs:database @fault:M340
    Scenario: In the database all HTTP sessions of a user belong to one security session
      Given Ada is signed in
      When every application opens for Ada without another log-in
      Then in the database Ada has 1 open session with an HTTP session of every application
      And in the database no HTTP session belongs to two security sessions

    @security.another-user @AJ-4.5 @fault:M341
    Scenario: After another user has logged in with the same browser the first one's data cannot be reached
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      When Ben logs in with Ada's browser
      And Ben opens the application on server 1
      Then it shows nothing of Ada's

    @security.never-under-two @AJ-4.5 @level:G @needs:admin @fault:M342
    Scenario: Two sessions of one user never share an HTTP session
      Given Ada is signed in
      And Ada is signed in on her phone as well
      And Ada has given the application on server 1 a value
      When Ada's phone opens the application on server 1
      Then it shows nothing of Ada's
      And the administrator sees no HTTP session under two security sessions

  Rule: The security session lasts until its last HTTP session has ended

    @security.ends-with-last @AJ-3.3 @feature:end-application @fault:M343 @fault:M344
    Scenario: The session lives while one HTTP session is left and ends with the last
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      And Ada has given the application on server 2 a value
      When Ada ends the application on server 1
      Then Ada is still signed in
      When Ada ends the application on server 2
      And Ada asks server 1 for the page on server 1
      Then the farm refuses Ada

    @security.ends-with-last-listed @AJ-3.3 @level:G @needs:admin @feature:end-application @fault:M343 @fault:M344
    Scenario: The administrator sees the session open until the last HTTP session ends
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      And Ada has given the application on server 2 a value
      When Ada ends the application on server 1
      Then the administrator sees 1 open session of Ada with 1 HTTP session
      When Ada ends the application on server 2
      Then the administrator sees no open session of Ada
      And the administrator sees Ada's session closed, with a reason

    @security.ends-with-last-row @AJ-3.3 @level:W @needs:database @feature:end-application @fault:M343
    Scenario: The row is closed with the last HTTP session
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      Then in the database Ada has 1 open session
      When Ada ends the application on server 1
      Then in the database Ada has no open session

    @security.ends-when-all-expire @AJ-3.3 @AJ-6.4 @time @fault:M345
    Scenario: When all HTTP sessions have expired the session is over
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      And Ada has given the application on server 2 a value
      When the idle time-out of every application passes, but not the session's
      And Ada asks server 1 for the page on server 1
      Then the farm refuses Ada

    @security.ends-by-both @AJ-3.3 @time @feature:end-application @fault:M345
    Scenario: When one HTTP session was ended and the other has expired the session is over
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      And Ada has given the application on server 2 a value
      When Ada ends the application on server 2
      Then Ada is still signed in
      When the idle time-out of every application passes, but not the session's
      And Ada asks server 1 for the page on server 1
      Then the farm refuses Ada

    @security.childless-lives @AJ-3.3 @AJ-0.2 @time @fault:M346
    Scenario: A session that never had an HTTP session lives until its own time-out
      Given Ada is signed in
      When the idle time-out of every application passes, but not the session's
      And Ada visits the page on server 2
      Then the farm serves Ada

    @security.one-beginning-one-end @AJ-0.2 @level:G @needs:admin @time @feature:log-out @fault:M347
    Scenario: A session has one instant of beginning and one later of end
      Given Ada is signed in
      When half the idle time-out passes
      And Ada visits the page on server 2
      Then the farm serves Ada
      And the administrator sees that Ada's session began when she signed in
      When Ada logs out
      Then the administrator sees that Ada's session ended just now

    @security.never-reopens @AJ-0.2 @level:W @needs:database @feature:log-out @fault:M348
    Scenario: A closed row never opens again
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      And Mallory has a copy of Ada's token
      When Ada logs out
      Then the copy is refused by every application
      And in the database Ada has no open session
      And in the database every session of Ada was closed after it was created

    @security.nothing-before-or-after @AJ-0.2 @AJ-4.1 @feature:log-out @fault:F38
    Scenario: Nothing is served before the session begins or after it ends
      When Ada asks for the page on server 1 without having signed in
      Then she is asked to log in
      When Ada logs in at server 1
      Then the farm serves it
      When Mallory has a copy of Ada's token
      And Ada logs out
      And Mallory presents the copy
      Then the farm refuses it
