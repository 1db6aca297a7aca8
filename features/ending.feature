Feature: Sessions end by log-out, by a limit and by the administrator
  The AS Java text, step 6 of the workflow: log-out destroys the security
  session and all its HTTP sessions; the server and the administrator can end
  one or several. What has ended never comes back.

  Rule: Log-out ends everything of the session, everywhere, at once

    @logout.copies-refused @AJ-6.1 @ASVS-7.4.1 @WSTG-SESS-06 @AJ-X1 @feature:log-out @fault:F38 @fault:F41 @fault:F09
    Scenario: A token copied before log-out is refused at every server afterwards
      Given Ada is signed in
      And Mallory has a copy of Ada's token
      When Ada logs out
      Then the copy is refused at every server

    @logout.every-token-refused @AJ-6.1 @ASVS-7.4.1 @WSTG-SESS-06 @feature:log-out @fault:F38
    Scenario: After log-out no token the session ever had is good
      Given Ada is signed in
      And Ada has visited the page on server 2
      And Ada has visited the page on server 1
      When Ada logs out
      Then nothing that Ada carried works any more

    @logout.every-application-refuses @AJ-3.5 @AJ-6.1 @AJ-4.4 @AJ-2.5 @WSTG-SESS-06 @AJ-X1 @feature:log-out @fault:F38 @fault:F42
    Scenario: After log-out every application refuses, and what it remembered is gone
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      And Ada has given the other application on server 1 a value
      And Ada has given the application on server 2 a value
      And Mallory has a copy of Ada's token
      When Ada logs out
      Then the copy is refused by every application
      When Ada signs in again
      Then the application on server 1 shows Ada nothing of before
      And the application on server 2 shows Ada nothing of before

    @logout.created-together @AJ-4.4 @AJ-3.5 @policy:coalesce @feature:log-out @fault:M370
    Scenario: HTTP sessions created at the same time all end with log-out
      Given Ada is signed in
      When every application is opened by a tab of Ada at the same time
      And Mallory has a copy of Ada's token
      And Ada logs out
      Then the copy is refused by every application

    @logout.none-listed @AJ-3.5 @level:G @needs:admin @feature:log-out @fault:F42
    Scenario: After log-out the administrator sees neither the session open nor an HTTP session of it
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      And Ada has given the application on server 2 a value
      When Ada logs out
      Then the administrator sees no open session of Ada
      And the administrator sees no HTTP session of Ada
      And the administrator sees Ada's session closed, with a reason

    @logout.none-stored @AJ-3.5 @level:W @needs:database @feature:log-out @fault:F42
    Scenario: After log-out the database has no HTTP session of it
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      And Ada has given the application on server 2 a value
      Then in the database Ada has 1 open session with 2 HTTP sessions
      When Ada logs out
      Then in the database Ada has no open session
      And in the database Ada has no HTTP session

    @logout.sibling-lives @AJ-6.1 @feature:concurrent-sessions @feature:log-out @fault:M350
    Scenario: Log-out ends this session and not another one of the same user
      Given Ada is signed in
      And Ada is signed in on her phone as well
      And Ben is signed in
      When Ada logs out
      Then Ada's phone is still signed in
      And Ben is still signed in

    @logout.twice @AJ-6.1 @feature:log-out @fault:M351
    Scenario: To log out again is as good as once
      Given Ada is signed in
      And Mallory has a copy of Ada's token
      When Ada logs out
      And Ada logs out
      Then the second log-out was answered as the first
      When Mallory presents the copy
      Then the farm refuses it

    @logout.looking-is-not-leaving @ASVS-3.5.3 @feature:log-out @fault:M352
    Scenario: To look at the log-out page does not log out
      Given Ada is signed in
      When Ada opens the log-out page and does not send its form
      Then Ada is still signed in

    @logout.forged @ASVS-3.5.1 @WSTG-SESS-05 @NIST-5.1.csrf @feature:log-out @fault:M353
    Scenario: A log-out that the farm's own form did not send changes nothing
      Given Ada is signed in
      When a page of Mallory's sends a log-out in Ada's browser
      Then Ada is still signed in

  Rule: What is under way when the session ends does not revive it

    @inflight.log-out-during-hop @AJ-6.1 @ASVS-7.4.1 @level:G @needs:holds @feature:log-out @fault:M354
    Scenario: A hop that was verified before the log-out and replaced after it leaves nothing alive
      Given Ada is signed in
      When Ada asks for the page on server 2 and the request is held between verification and replacement
      And Ada logs out in a second tab
      And the held request goes on
      Then nothing that Ada carried works any more

    @inflight.hop-during-log-out @AJ-6.1 @ASVS-7.4.1 @level:G @needs:holds @feature:log-out @fault:M355
    Scenario: A hop in the middle of the log-out leaves nothing alive
      Given Ada is signed in
      When Ada logs out in a second tab and the request is held during the log-out
      And Ada visits the page on server 2
      And the held log-out goes on
      Then nothing that Ada carried works any more

    @inflight.page-being-made @AJ-6.1 @ASVS-7.4.1 @level:G @needs:holds @needs:admin @fault:M349
    Scenario: A page that is being made while the session ends brings no token that works
      Given Ada is signed in
      When Ada asks for the page on server 2 and the request is held while the page is made
      And the administrator ends all sessions of Ada
      And the held request goes on
      Then nothing that Ada carried works any more
      And the administrator sees no open session of Ada

    @inflight.state-being-saved @AJ-6.1 @AJ-3.5 @ASVS-7.4.1 @level:G @needs:holds @needs:admin @fault:F39
    Scenario: State that is saved after the session has ended does not revive it
      Given Ada is signed in
      When Ada gives the application on server 1 a value and the request is held before it is saved
      And the administrator ends all sessions of Ada
      And the held request goes on
      Then nothing that Ada carried works any more
      And the administrator sees no open session of Ada
      And the administrator sees no HTTP session of Ada

  Rule: The server ends sessions over its limit

    @limit.oldest-ends @AJ-6.5 @ASVS-7.1.2 @WSTG-SESS-11 @level:G @needs:fork @exclusive @fault:M356 @fault:M357
    Scenario: One session too many ends the oldest, and exactly that
      Given a farm that allows 2 sessions for each user
      And Ben is signed in
      And Ada is signed in
      And Mallory has a copy of Ada's token
      And Ada is signed in on her phone as well
      When Ada is signed in on her tablet as well
      Then the copy is refused at every server
      And Ada's phone is still signed in
      And Ada's tablet is still signed in
      And Ben is still signed in

    @limit.oldest-ends-listed @AJ-6.5 @level:G @needs:fork @needs:admin @exclusive @fault:M357
    Scenario: The administrator sees as many sessions as the limit allows
      Given a farm that allows 2 sessions for each user
      And Ada is signed in
      And Ada is signed in on her phone as well
      When Ada is signed in on her tablet as well
      Then the administrator sees 2 open sessions of Ada

  Rule: An administrator ends what he chose and nothing else

    @admin.one-http-session @AJ-6.6 @AJ-X4 @level:G @needs:admin @fault:M358 @fault:M359
    Scenario: One HTTP session
      Given Ada is signed in
      And Ben is signed in
      And Ada has given the application on server 1 a value
      And Ada has given the application on server 2 a value
      And Ben has given the application on server 1 a value
      When the administrator ends Ada's HTTP session of the application on server 1
      And Ada opens the application on server 2
      Then it shows Ada's value
      When Ada opens the application on server 1
      Then it shows nothing of Ada's
      When Ben opens the application on server 1
      Then it shows Ben's value

    @admin.one-session @AJ-6.6 @AJ-X4 @level:G @needs:admin @fault:F50 @fault:F09
    Scenario: One security session
      Given Ada is signed in
      And Ada has given the application on server 1 a value
      And Ada is signed in on her phone as well
      And Ben is signed in
      When Mallory has a copy of Ada's token
      And the administrator ends the session that holds Ada's value
      Then the copy is refused at every server
      And the copy is refused by every application
      And Ada's phone is still signed in
      And Ben is still signed in

    @admin.one-user @AJ-6.6 @ASVS-7.4.5 @level:G @needs:admin @fault:M360
    Scenario: All sessions of one user
      Given Ada is signed in
      And Ada is signed in on her phone as well
      And Ben is signed in
      When the administrator ends all sessions of Ada
      And Ada visits the page on server 1
      Then the farm refuses Ada
      When Ada's phone visits the page on server 1
      Then the farm refuses it
      And Ben is still signed in

    @admin.everybody @AJ-6.6 @ASVS-7.4.5 @level:G @needs:admin @exclusive @fault:M361
    Scenario: All sessions
      Given Ada is signed in
      And Ada is signed in on her phone as well
      And Ben is signed in
      When the administrator ends all sessions
      And Ada visits the page on server 1
      Then the farm refuses Ada
      When Ada's phone visits the page on server 1
      Then the farm refuses it
      When Ben visits the page on server 1
      Then the farm refuses Ben
