Feature: The token is verified before the page is served
  Claims 1, 5 and 6: a session token is a session ID and a timestamp; both are
  compared with what the common session database has, for each hop and before
  the page, and a comparison that fails grants nothing.

  Rule: A token has two parts (claims 3 and 5)

    @verify.parts-in-address @WF-3.1 @WF-5.1 @mode:claimed @fault:M131
    Scenario: The hand-off shows a session ID and a timestamp
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2
      Then the farm serves Ada
      And the hand-off has a session ID and a timestamp

    @verify.parts-inside @WF-3.1 @WF-5.1 @level:W @needs:keys @fault:M132
    Scenario: The farm's key opens the token to a session ID and a timestamp
      Given Ada is signed in
      And Ada has visited the page on server 2
      When Ada's token is opened with the farm's key
      Then it has a session ID and a timestamp

  Rule: No page without verification (claim 1)

    @verify.straight-to-second @WF-1.6 @WF-1.7 @mode:claimed @mode:sealed @mode:direct @fault:F04
    Scenario Outline: Who goes straight to the second server with <what> is refused
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2 and stops at the redirect
      And Mallory goes straight to the page on server 2 with <what>
      Then the farm refuses all of it
      When Ada follows the redirect
      Then the farm serves Ada

      Examples:
        | what                        |
        | no token                    |
        | an empty hand-off           |
        | a random hand-off           |
        | Ada's hand-off changed      |
        | Ada's hand-off cut short    |
        | Ada's hand-off lengthened   |

    @verify.never-issued @WF-1.6 @mode:claimed @fault:M133
    Scenario: A well-formed hand-off that was never issued is refused
      Given Ada is signed in
      When Mallory goes straight to the page on server 2 with a hand-off never issued
      Then the farm refuses all of it
      And Ada's current token still works

    @verify.never-issued-sealed @WF-1.6 @level:W @needs:keys @fault:M133
    Scenario: A well-sealed token that was never issued is refused, there and by way of the first server
      Given Ada is signed in
      When Mallory presents a token never issued to server 2 for the page on server 2
      And Mallory presents a token never issued to server 1 for the page on server 2
      Then the farm refuses all of it
      And Ada's current token still works

    @verify.hand-off-once @WF-1.6 @mode:claimed @mode:sealed @mode:direct @fault:F08
    Scenario: A hand-off that has been used serves nobody else
      Given Ada is signed in
      And Ada asks server 1 for the page on server 2 and stops at the redirect
      And Ada follows the redirect
      And Ada has visited the page on server 1
      When Mallory goes straight to the page on server 2 with Ada's hand-off
      Then the farm refuses all of it

    @verify.audience @CAS-SERVICE-BOUND @WF-1.6 @ASVS-9.2.3 @members:3 @mode:sealed @mode:direct @fault:M134
    Scenario: A hand-off for one server is of no use at another
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2 and stops at the redirect
      And Mallory goes straight to the page on server 3 with Ada's hand-off
      Then the farm refuses all of it
      When Ada follows the redirect
      Then the farm serves Ada

    @verify.purposes @RFC-6265bis.transplant @WF-1.6 @mode:sealed @mode:direct @fault:M135
    Scenario: A token is no hand-off, and a hand-off no token
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2 and stops at the redirect
      And Mallory goes straight to the page on server 2 with Ada's token as the hand-off
      And Mallory presents Ada's hand-off as a token to server 2 for the page on server 2
      Then the farm refuses all of it
      When Ada follows the redirect
      Then the farm serves Ada

    @verify.before-the-page @WF-1.6 @SY-18.1 @ASVS-7.2.1 @level:G @needs:trace @mode:claimed @mode:sealed @mode:direct @fault:F03
    Scenario: Each hop causes a comparison at the service, before the page
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2
      Then the farm serves Ada
      And inside the farm the service did "compare" before server 2 answered
      And inside the farm server 2 did not do "compare"

  Rule: A hand-off and a session of one's own (D13)

    @verify.two-sessions @WF-1.6 @WF-1.7 @mode:claimed @mode:sealed @mode:direct @fault:M136
    Scenario: Somebody else's hand-off does not take the place of one's own session
      Given Ada is signed in
      And Ada has visited the page on server 2
      And Mallory is signed in
      When Mallory asks server 1 for the page on server 2 and stops at the redirect
      And Ada opens Mallory's hand-off
      Then the farm refuses Ada
      And Ada's current token still works

    @verify.fixation @AJ-3.2 @WSTG-SESS-03 @level:G @needs:admin @mode:claimed @mode:sealed @mode:direct @fault:M137
    Scenario: Who signs in after following a stranger's hand-off has a session the stranger did not begin
      Given Mallory is signed in
      And Mallory asks server 1 for the page on server 2 and stops at the redirect
      And the sessions that Mallory began are noted
      When Ada opens Mallory's hand-off
      And Ada signs in again
      Then Ada's session is none of those
      And what Mallory has shows nothing of Ada

    @verify.reload @WF-2.4 @mode:claimed @mode:sealed @mode:direct @fault:M136
    Scenario: A page that was reached by a hand-off can be loaded again
      Given Ada is signed in
      And Ada has visited the page on server 2
      When Ada reloads the page
      Then the farm serves Ada
      And Ada's current token still works

  Rule: Both parts are compared, each on its own (claim 6)

    @verify.other-id @WF-6.1 @mode:claimed @fault:F02 @fault:F07 @fault:M140
    Scenario Outline: A hand-off with <part> is refused
      Given Ada is signed in
      And Ben is signed in
      When Ben asks server 1 for the page on server 2 and stops at the redirect
      And Ada asks server 1 for the page on server 2 and stops at the redirect
      And Mallory goes straight to the page on server 2 with <part>
      Then the farm refuses all of it
      When Ada follows the redirect
      Then the farm serves Ada

      Examples:
        | part                                              |
        | another session ID and Ada's timestamp            |
        | Ben's session ID and Ada's timestamp              |
        | Ada's session ID changed at its end               |
        | Ada's session ID changed at its beginning         |
        | Ada's session ID cut short                        |

    @verify.other-timestamp @WF-6.2 @mode:claimed @fault:F01
    Scenario Outline: A hand-off with a timestamp <when> is refused
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2 and stops at the redirect
      And Mallory goes straight to the page on server 2 with Ada's timestamp <when>
      Then the farm refuses all of it
      When Ada follows the redirect
      Then the farm serves Ada

      Examples:
        | when                     |
        | one millisecond earlier  |
        | one millisecond later    |
        | one second earlier       |

    @verify.service-compares @WF-6.1 @WF-6.2 @SY-18.1 @level:G @needs:service @mode:claimed @fault:F01 @fault:F02 @fault:F07
    Scenario: The session service refuses each altered part, and verifies the two together
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2 and stops at the redirect
      And the token of the hand-off is put to the session service, whole and with each part altered
      Then it is verified whole and refused with any part altered

    @verify.service-compares-opened @WF-6.1 @WF-6.2 @SY-18.1 @level:W @needs:service @needs:keys @fault:F01 @fault:F02 @fault:F07
    Scenario: The session service refuses each altered part of an opened token
      Given Ada is signed in
      When Ada's token is opened with the farm's key
      And it is put to the session service, whole and with each part altered
      Then it is verified whole and refused with any part altered

    @verify.altered-and-sealed @WF-6.2 @level:W @needs:keys @fault:F01
    Scenario: A token sealed again with another timestamp is refused
      Given Ada is signed in
      When Mallory presents Ada's token sealed again one millisecond later to server 1 for the page on server 1
      And Mallory presents Ada's token sealed again one millisecond earlier to server 1 for the page on server 1
      Then the farm refuses all of it
      And Ada's current token still works

    @verify.refusal-changes-nothing @WF-1.7 @level:W @needs:keys @needs:database @fault:M138
    Scenario: Refusals leave the stored sessions as they were
      Given Ada is signed in
      And the stored sessions are noted
      When Mallory presents Ada's token sealed again one millisecond later to server 1 for the page on server 1
      And Mallory presents a token never issued to server 2 for the page on server 2
      And Mallory presents Ada's token changed to server 2 for the page on server 2
      Then the farm refuses all of it
      And the stored sessions of Ada are as before

  Rule: What is stored decides (claim 6)

    @verify.closed-everywhere @WF-6.3 @feature:log-out @fault:F03
    Scenario: The token of a session that was logged out is refused by every server
      Given Ada is signed in
      And Ada has visited the page on server 2
      And Ada logs out
      When Mallory presents Ada's last token to every server
      Then the farm refuses all of it

    @verify.stored-timestamp @WF-6.2 @WF-6.3 @level:W @needs:database @fault:F01 @fault:M139
    Scenario: When the stored timestamp is changed, every server refuses the token
      Given Ada is signed in
      And Ada has visited a page on every server
      When the stored timestamp of Ada's token is changed
      And Mallory presents Ada's token to every server
      Then the farm refuses all of it

    @verify.stored-id @WF-6.1 @WF-6.3 @level:W @needs:database @fault:M139
    Scenario: When the stored session ID is changed, every server refuses the token
      Given Ada is signed in
      And Ada has visited a page on every server
      When the stored session ID of Ada's token is changed
      And Mallory presents Ada's token to every server
      Then the farm refuses all of it

    @verify.row-removed @WF-6.3 @level:W @needs:database @fault:M139
    Scenario: When the stored session is removed, every server refuses the token
      Given Ada is signed in
      And Ada has visited a page on every server
      When the stored session of Ada is removed
      And Mallory presents Ada's token to every server
      Then the farm refuses all of it
