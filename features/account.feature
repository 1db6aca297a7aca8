Feature: Users look after their own account
  ASVS 7.4 and 7.5: users see where they are signed in and end what they no
  longer want; what matters takes their password again, because an open session
  shows only that somebody signed in once; and an account that is disabled has
  no session left.

  Rule: Users see their own sessions, and end them

    @account.sessions-listed @ASVS-7.5.2 @feature:own-sessions @feature:concurrent-sessions @feature:log-out @fault:M601
    Scenario: The list has each session of the user, as long as it lives
      Given Ada is signed in
      And Ada has opened her list of sessions
      And Ada is signed in on her phone as well
      When Ada opens her list of sessions
      Then it shows one session more
      When Ada's phone logs out
      And Ada opens her list of sessions
      Then it shows one session less

    @account.sessions-ended @ASVS-7.5.2 @feature:own-sessions @feature:concurrent-sessions @fault:M602 @fault:M603
    Scenario: A session that was ended from another browser is refused at every server
      Given Ada is signed in
      And Ben is signed in
      And Ada is signed in on her phone as well
      And Mallory has a copy of Ada's phone's token
      When Ada ends her other sessions with her password
      Then the copy is refused at every server
      And Ada is still signed in
      And Ben is still signed in

    @account.sessions-take-password @ASVS-7.5.2 @feature:own-sessions @feature:concurrent-sessions @fault:M604 @fault:M605
    Scenario Outline: With <a password> no session is ended
      Given Ada is signed in
      And Ada is signed in on her phone as well
      When Ada tries to end her other sessions with <a password>
      Then Ada's phone is still signed in
      When Ada ends her other sessions with her password
      And Ada's phone visits the page on server 1
      Then the farm refuses it

      Examples:
        | a password       |
        | no password      |
        | a wrong password |
        | Ben's password   |

    @account.sessions-of-others @ASVS-7.5.2 @feature:own-sessions @feature:concurrent-sessions @fault:M606
    Scenario: Nobody ends the session of somebody else
      Given Ben is signed in
      And Ben is signed in on his phone as well
      And Mallory is signed in
      And Mallory is signed in on her phone as well
      When Mallory sends her own form with what Ben's form says of his other sessions
      Then Ben's phone is still signed in
      And Ben is still signed in
      When Mallory ends her other sessions with her password
      And Mallory's phone visits the page on server 1
      Then the farm refuses it

  Rule: A new password takes the present one

    @account.password-takes-password @ASVS-7.5.1 @feature:change-password @feature:concurrent-sessions @fault:M607 @fault:M608
    Scenario Outline: With <a password> in place of the present one nothing is changed
      Given Ada is signed in
      When Ada tries to change her password with <a password> in place of it
      Then Ada's password is what it was
      When Ada changes her password
      Then Ada's password is the new one

      Examples:
        | a password       |
        | no password      |
        | a wrong password |
        | Ben's password   |

    @account.password-ends-others @ASVS-7.4.3 @feature:end-other-sessions @feature:concurrent-sessions @fault:F51 @fault:M609
    Scenario: Who changes her password can end her other sessions with it
      Given Ada is signed in
      And Ben is signed in
      And Ada is signed in on her phone as well
      And Mallory has a copy of Ada's phone's token
      When Ada changes her password and ends her other sessions
      Then Ben is still signed in
      And the copy is refused at every server

  Rule: What is highly sensitive takes the password once more

    @account.transaction-takes-password @ASVS-7.5.3 @feature:transaction @fault:M610 @fault:M611
    Scenario Outline: With <a password> the transaction is not carried out
      Given Ada is signed in
      When Ada tries to do the transaction with <a password>
      Then it was not done
      When Ada does the transaction with her password
      Then it was done

      Examples:
        | a password       |
        | no password      |
        | a wrong password |
        | Ben's password   |

  Rule: A disabled account has no session

    @account.disabled @ASVS-7.4.2 @level:G @needs:admin @feature:concurrent-sessions @fault:M612 @fault:M613
    Scenario: An account that is disabled has no session any more and gets no new one
      Given Ada is signed in
      And Ben is signed in
      And Mallory has a copy of Ada's token
      And Ada is signed in on her phone as well
      When the administrator disables Ada's account
      Then the copy is refused at every server
      When Ada's phone visits the page on server 1
      Then the farm refuses it
      And Ada is not let in again
      And Ben is still signed in

    @account.disabled-for-good @ASVS-7.4.2 @level:G @needs:admin @needs:processes @exclusive @fault:M614
    Scenario: A disabled account stays out when the session service has been restarted
      Given Ada is signed in
      When the administrator disables Ada's account
      And the session service dies and comes back
      Then Ada is not let in again

  Rule: The way out is always in sight

    @account.log-out-in-sight @ASVS-7.4.4 @feature:log-out @fault:M615
    Scenario: Every protected page offers the log-out
      Given Ada is signed in
      When Ada visits every protected page
      Then each of them has a visible way to log out
