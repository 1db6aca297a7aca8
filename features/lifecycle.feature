Feature: A session begins by its user's act, lasts no longer than it may, and ends at once
  What the hardened profile asks of a session's life: nobody else chooses it or
  begins it, a change of its ID loses nothing, its limits are those of the
  declared assurance level, and once its end has begun nobody sees it any more.

  Rule: Nobody chooses another's session, and nobody begins one for her

    @fixation.planted @WSTG-SESS-03 @fault:M616 @fault:M617 @fault:M638
    Scenario Outline: A session ID <planted> is not the session of who logs in with it
      Given Ada's browser has a session ID of Mallory's <planted>
      When Ada logs in with it at server 1
      And Mallory presents the planted session ID
      Then the farm refuses it
      And Ada's log-in was a good one

      Examples:
        | planted                                  |
        | making, in its cookie                    |
        | making, in a cookie of the whole domain  |
        | making, in a cookie of the log-in's path |
        | making, in the address of the log-in     |
        | own visit to the log-in, in its cookie   |

    @login.asked-from-elsewhere @ASVS-7.6.2 @fault:M618
    Scenario: A page elsewhere that asks for the log-in begins no session
      Given Mallory is signed in
      When a page elsewhere asks for the log-in in Ada's browser, with Mallory's name and password in the address
      Then Ada's browser does not show Mallory's page

    @login.own-token @ASVS-7.2.2 @feature:concurrent-sessions @fault:M636
    Scenario: Each log-in of a user has a token of its own
      Given Ada is signed in
      When Ada is signed in on her phone as well
      Then Ada's phone carries a token that Ada never had

  Rule: A session changes its ID and loses nothing by it

    @session.changes-id @SERVLET-CHANGE-ID @policy:strict @policy:coalesce @policy:read-verify @fault:M619
    Scenario: What an application remembers is there under the new session ID
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      And Ada has visited the page on server 2
      And Ada carries another token than before
      When Ada opens the application on server 1
      Then it shows Ada's value

  Rule: What has ended is seen by nobody, from the moment on at which its end begins

    @session.ended-before-answered @SERVLET-INVALIDATION @ASVS-7.4.1 @level:G @needs:holds @feature:log-out @fault:M620
    Scenario: The session is over before the log-out is answered
      Given Ada is signed in
      And Mallory has a copy of Ada's token
      When Ada logs out in a second tab and the request is held when the session is closed
      And Mallory presents the copy
      Then the farm refuses it
      When the held log-out goes on
      Then nothing that Ada carried works any more

    @session.requests-around-log-out @SERVLET-INVALIDATION @ASVS-7.4.1 @policy:coalesce @policy:none @feature:log-out @fault:M621
    Scenario: Requests that go together with the log-out leave nothing alive
      Given Ada is signed in
      When 4 tabs of Ada ask for pages while she logs out in another
      Then nothing that Ada carried works any more

    @session.outlives-no-crash @AJ-6.1 @ASVS-7.4.1 @level:G @needs:processes @feature:log-out @exclusive @fault:M622
    Scenario Outline: A session that has ended does not come back with <part>
      Given Ada is signed in
      And Mallory has a copy of Ada's token
      When Ada logs out
      And <part> dies and comes back
      Then the copy is refused at every server

      Examples:
        | part                |
        | server 1            |
        | the session service |

    @session.lost-in-crash @AJ-X2 @level:G @needs:processes @feature:lost-in-crash @exclusive @fault:M623
    Scenario: Where a crash ends the sessions of its node, their users log in again
      Given Ada is signed in at server 1
      And Ben is signed in at server 2
      When server 1 dies and comes back
      And Ada asks server 1 for the page on server 1
      Then the farm refuses Ada
      And Ben is still signed in
      When Ada signs in again
      Then Ada is still signed in

  Rule: An application's HTTP session is its own

    @http.one-server-uses-it @SERVLET-DISTRIBUTABLE @level:G @needs:trace @policy:coalesce @fault:M624
    Scenario: Requests of one session for one application, asked at several servers, are served by one
      Given Ada is signed in
      When 3 tabs of Ada ask for the application on server 1 together, each at another server
      Then inside the farm one server alone used the HTTP session

    @http.no-time-out @SERVLET-NO-TIMEOUT @time @fault:M625
    Scenario: An application without a time-out remembers as long as the session lives
      Given a farm whose application on server 1 has no time-out
      And Ada is signed in
      And Ada has given the application on server 1 a value
      And Ada has given the application on server 2 a value
      When the idle time-out of every application passes, but not the session's
      And Ada opens the application on server 2
      Then it shows nothing of Ada's
      When Ada opens the application on server 1
      Then it shows Ada's value

  Rule: Authentication starts both limits anew (SP 800-63B-4, section 5.2)

    @reauthentication.overall-anew @NIST-5.2.reauthentication @NIST-5.2.activity @NIST-5.2.either @time @fault:M626 @fault:M627
    Scenario: Who authenticates again may go on for another whole lifetime, and no longer
      Given a farm whose sessions end soon after they were idle
      And Ada is signed in
      When Ada goes on visiting pages until almost the absolute lifetime is over
      And Ada logs in at server 1
      Then the farm serves it
      When Ada goes on visiting pages until almost the absolute lifetime is over
      Then every page was served
      When a little more time passes
      And Ada visits the page on server 1
      Then the farm refuses Ada

    @reauthentication.idle-anew @NIST-5.2.reauthentication @time @fault:M628
    Scenario: Who authenticates again may be idle for a whole time-out from then on
      Given Ada is signed in
      When half the idle time-out passes
      And Ada logs in at server 1, and goes nowhere yet
      And three quarters of the idle time-out pass
      And Ada asks server 1 for the page on server 1
      Then the farm serves Ada

  Rule: The limits are those of the declared assurance level

    @assurance.declared @feature:assurance
    Scenario Outline: The farm declares limits within <limit>
      Given Ada is signed in
      Then the limits that the farm declares are within <limit>

      @NIST-2.1.3.overall @fault:M629
      Examples:
        | limit                |
        | AAL1's overall limit |

      @NIST-2.2.3.overall @fault:M630
      Examples:
        | limit                |
        | AAL2's overall limit |

      @NIST-2.2.3.idle @fault:M631
      Examples:
        | limit             |
        | AAL2's idle limit |

      @NIST-2.3.3.overall @fault:M632
      Examples:
        | limit                |
        | AAL3's overall limit |

      @NIST-2.3.3.idle @fault:M633
      Examples:
        | limit             |
        | AAL3's idle limit |

    @assurance.overall @feature:assurance @time
    Scenario Outline: A session in use is over when <limit> has passed
      Given a farm that keeps <limit>
      And Ada is signed in
      When Ada goes on visiting pages until <limit> has passed
      Then the farm refuses Ada

      @NIST-2.1.3.overall @fault:M634
      Examples:
        | limit                |
        | AAL1's overall limit |

      @NIST-2.2.3.overall @fault:M634
      Examples:
        | limit                |
        | AAL2's overall limit |

      @NIST-2.3.3.overall @fault:M634
      Examples:
        | limit                |
        | AAL3's overall limit |

    @assurance.idle @feature:assurance @time
    Scenario Outline: A session left alone is over when <limit> has passed
      Given a farm that keeps <limit>
      And Ada is signed in
      When <limit> passes
      And Ada visits the page on server 1
      Then the farm refuses Ada

      @NIST-2.2.3.idle @fault:M635
      Examples:
        | limit             |
        | AAL2's idle limit |

      @NIST-2.3.3.idle @fault:M635
      Examples:
        | limit             |
        | AAL3's idle limit |
