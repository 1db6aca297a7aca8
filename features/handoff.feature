Feature: The first server opens the token and redirects to the second
  Claims 1 and 9, and the direct way of the granted US 8,578,462: whoever is
  signed in and asks one server for a page of another is sent there together
  with the session token, and what does not open is sent nowhere.

  Rule: The way of a hop (claim 1)

    @handoff.hop @WF-1.1 @WF-1.4 @mode:claimed @mode:sealed @mode:direct @fault:M101 @fault:M102
    Scenario: Asked for a page of the second server, the first sends the browser there
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2
      Then the farm serves Ada
      And server 1 redirected her and server 2 answered with the page

    @handoff.temporary @WF-1.4 @mode:claimed @mode:sealed @mode:direct @fault:M103
    Scenario: The redirect is for this once
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2 and stops at the redirect
      Then no browser or proxy may keep the redirect for another time

    @handoff.first-server-acts @WF-1.1 @SY-13.3 @level:G @needs:trace @mode:claimed @mode:sealed @mode:direct @fault:M104
    Scenario: The first server receives the request, opens the token and redirects, in this order
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2
      Then the farm serves Ada
      And inside the farm server 1 did "receive" before "decrypt"
      And inside the farm server 1 did "decrypt" before "redirect"

    @handoff.product-acts @CP-0 @level:G @needs:trace @mode:claimed @mode:sealed @mode:direct @fault:M104
    Scenario: The product's own parts do each step, and the report names the product
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2
      Then the farm serves Ada
      And inside the farm server 1 did "decrypt" before "redirect"
      And inside the farm the service did "compare"
      And inside the farm server 2 did "respond"
      And the report names the product, its version and its artefact

    @handoff.product-answers @CP-0 @mode:claimed @mode:sealed @mode:direct @fault:M101
    Scenario: The page comes from the server that holds it, and the report names the product
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2
      Then the farm serves Ada
      And server 1 redirected her and server 2 answered with the page
      And the report names the product, its version and its artefact

    @handoff.abandoned @WF-2.4 @mode:claimed @mode:sealed @mode:direct @fault:M112
    Scenario: A hop that is broken off leaves the token as good as it was
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2 and stops at the redirect
      Then Ada's current token still works

    @handoff.abandoned-inside @WF-1.3 @level:W @needs:service @needs:keys @needs:database @mode:claimed @mode:sealed @mode:direct @fault:M112
    Scenario: The first server does not consume the token
      Given Ada is signed in
      And the stored sessions are noted
      When Ada asks server 1 for the page on server 2 and stops at the redirect
      Then the stored sessions of Ada are as before
      And the session service still verifies Ada's token

    @handoff.return-by-typing @WF-2.4 @fault:M113
    Scenario: There and back again by typing each server's own address
      Given Ada is signed in
      And Ada has visited the page on server 2
      When Ada asks server 1 for the page on server 1
      Then the farm serves it
      When Ada asks server 2 for the page on server 2
      Then the farm serves it
      When Ada asks server 1 for the page on server 1
      Then the farm serves it

    @handoff.post @RFC-9110.15.4 @fault:M114
    Scenario: A form that is posted by way of another server arrives whole or is visibly refused
      Given Ada is signed in
      When Ada posts to an application of server 2 by way of server 1
      Then what she posted was remembered or visibly refused

  Rule: What the browser carries is encrypted (claim 1)

    @handoff.carrier-unreadable @WF-1.2 @fault:M115
    Scenario: Decoded in every usual way, the tokens show nothing of the session
      Given Ada is signed in
      When Ada visits 8 pages in a row, each on another server than the last
      Then every page was served
      And no usual decoding of her tokens shows her name or the time

    @handoff.carrier-without-structure @WF-1.2 @ASVS-11.3.4 @ASVS-11.3.2 @WSTG-SESS-01 @policy:strict @policy:coalesce @policy:read-verify @fault:M115 @fault:F63
    Scenario: Two tokens of one session share no structure
      Given Ada is signed in
      When Ada visits 8 pages in a row, each on another server than the last
      Then every page was served
      And no two of her tokens are equal or share a block

    @handoff.carrier-opens @WF-1.2 @level:W @needs:keys @needs:database @fault:M105
    Scenario: The farm's key opens the token to what is stored
      Given Ada is signed in
      And Ada has visited the page on server 2
      When the common session database is read
      Then it holds one open session of Ada
      And its stored token is the one Ada carries

  Rule: What does not open is handed over to nobody (claim 1)

    @handoff.fails-closed @WF-1.3 @WF-1.7 @ASVS-7.2.1 @fault:F05 @fault:F62 @fault:M104 @fault:M116
    Scenario Outline: Asked with <what>, the first server issues no hand-off
      Given Ada is signed in
      When Mallory presents <what> to server 1 for the page on server 2
      Then the farm refuses all of it and issues no hand-off
      And Ada's current token still works

      Examples:
        | what                            |
        | no token                        |
        | an empty token                  |
        | a random token                  |
        | an unsealed token               |
        | an oversized token              |
        | Ada's token changed             |
        | Ada's token cut short           |
        | Ada's token lengthened          |

      @mode:claimed @mode:sealed @mode:direct
      Examples:
        | what                            |
        | Ada's token and a changed one   |
        | a changed one and Ada's token   |

    @handoff.every-change @ASVS-11.3.3 @WF-1.3 @WSTG-SESS-01 @fault:F62
    Scenario: A token changed at any place is refused
      Given Ada is signed in
      When Mallory presents Ada's token changed at 24 places to server 1 for the page on server 2
      Then the farm refuses all of it and issues no hand-off
      And Ada's current token still works

    @handoff.foreign-key @WF-1.2 @WF-1.3 @level:W @needs:keys @fault:F62
    Scenario: A token sealed under a key that is not the farm's is handed over to nobody
      Given Ada is signed in
      When Mallory presents Ada's token sealed under another key to server 1 for the page on server 2
      Then the farm refuses all of it and issues no hand-off
      And Ada's current token still works

    @handoff.opened-and-handed-over @WF-1.3 @level:W @needs:keys @mode:claimed @fault:M117
    Scenario: What is handed over is what the token opens to
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2 and stops at the redirect
      Then the hand-off names the session ID and timestamp of Ada's token

    @handoff.refusals-alike @WF-1.3 @ASVS-11.2.5 @policy:strict @policy:coalesce @policy:read-verify @feature:log-out @fault:M118 @fault:M119
    Scenario: From outside, refusals for different reasons look the same
      Given Ada is signed in
      And Ada has visited the page on server 2
      And Ada has visited the page on server 1
      And Ben is signed in
      And Ben logs out
      When Mallory presents a random token to server 1 for the page on server 1
      And Mallory presents Ada's token changed to server 1 for the page on server 1
      And Mallory presents Ada's first token to server 1 for the page on server 1
      And Mallory presents Ben's last token to server 1 for the page on server 1
      Then the farm refuses all of it
      And all these refusals look alike

    @handoff.refusals-alike-unknown @WF-1.3 @ASVS-11.2.5 @level:W @needs:keys @fault:M119
    Scenario: A well-sealed token that was never issued is refused like one that does not open
      Given Ada is signed in
      When Mallory presents a random token to server 1 for the page on server 1
      And Mallory presents a token never issued to server 1 for the page on server 1
      Then the farm refuses all of it
      And all these refusals look alike

    @handoff.refusals-alike-timed-out @WF-1.3 @ASVS-11.2.5 @time @fault:M118
    Scenario: A timed-out token is refused like one that does not open
      Given Ada is signed in
      When Mallory presents a random token to server 1 for the page on server 1
      And the idle time-out is over
      And Mallory presents Ada's token to server 1 for the page on server 1
      Then the farm refuses all of it
      And all these refusals look alike

  Rule: Redirecting transmits the token (claims 1 and 9)

    @handoff.in-the-address @WF-1.5 @WF-9.1 @mode:claimed @mode:sealed @fault:M106
    Scenario: The redirect's address has the token, once
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2
      Then the farm serves Ada
      And the address server 1 sent her to has one hand-off

    @handoff.first-server-builds-it @WF-1.5 @SY-21.1 @level:G @needs:trace @mode:claimed @mode:sealed @fault:M106
    Scenario: The first server itself builds the address with the token
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2
      Then the farm serves Ada
      And inside the farm server 1 did "decrypt" before "redirect"
      And the address server 1 sent her to has one hand-off

    @handoff.query-intact @WF-9.2 @WF-1.4 @mode:claimed @mode:sealed @mode:direct @fault:M107 @fault:M108 @fault:M109
    Scenario Outline: The request's own query arrives whole: <what>
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2 with the query "<query>"
      Then the farm serves Ada
      And server 2 was asked with that query and no more than one hand-off

      Examples:
        | what                | query                                        |
        | reserved characters | sum=1%2B1%3D2&and=a%26b&percent=100%25       |
        | plus and blanks     | words=one+two%20three&sign=%2B               |
        | repeated names      | tag=b&tag=a&tag=&tag=b                       |
        | names alone         | print&debug=&=nameless                       |
        | an address          | next=%2Fcart%3Fitem%3D1%26n%3D2%23top        |
        | other alphabets     | name=%C3%89lo%C3%AFse&city=%E4%BA%AC%E9%83%BD |

    @handoff.long-query @WF-9.2 @mode:claimed @mode:sealed @mode:direct @fault:M107
    Scenario: A long address arrives whole
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2 with a query of 1500 characters
      Then the farm serves Ada
      And server 2 was asked with that query and no more than one hand-off

    @handoff.own-parameter @WF-9.2 @WF-1.6 @mode:claimed @mode:sealed @mode:direct @fault:M110
    Scenario: A hand-off that the request brings along is not passed on
      Given Ada is signed in
      And Mallory is signed in
      When Mallory asks server 1 for the page on server 2 and stops at the redirect
      And Ada asks server 1 for the page on server 2 with Mallory's hand-off in the address
      Then nobody but Ada is shown, and server 2 was asked with no more than one hand-off

  Rule: From server to server (the grant)

    @handoff.direct-absent-from-addresses @WF-G.1 @mode:direct @fault:M111
    Scenario: No address of the hop shows the token
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2
      Then the farm serves Ada
      And no address of the hop shows her token, her name or the time

    @handoff.direct-absent-inside @WF-G.1 @level:W @needs:keys @mode:direct @fault:M111
    Scenario: No address of the hop has the session ID or the timestamp
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2
      Then the farm serves Ada
      And no address of the hop has the session ID or timestamp she carried

    @handoff.direct-message @WF-1.5 @WF-G.1 @level:G @needs:trace @mode:direct @fault:M120
    Scenario: The token goes to the second server before the browser does
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2
      Then the farm serves Ada
      And inside the farm server 1 did "handoff" before "redirect"
      And inside the farm server 1 did "handoff" at server 2 before the browser arrived

    @handoff.direct-racer @WF-1.5 @WF-G.2 @mode:direct @fault:M121
    Scenario: Whoever comes to the second server first, without having been sent, is refused
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2 and stops at the redirect
      And Mallory goes straight to the page on server 2 with no token
      And Mallory goes straight to the page on server 2 with a random hand-off
      And Mallory goes straight to the page on server 2 with Ada's hand-off changed
      Then the farm refuses all of it
      When Ada follows the redirect
      Then the farm serves Ada

    @handoff.direct-stolen @WF-G.2 @mode:direct @topology:shared-domain @topology:single-host @fault:M122
    Scenario: A reference is of no use in another browser, and harms the rightful one not
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2 and stops at the redirect
      And Mallory goes straight to the page on server 2 with Ada's hand-off
      Then the farm refuses all of it
      When Ada follows the redirect
      Then the farm serves Ada

    @handoff.direct-references @WF-G.2 @CAS-UNGUESSABLE @mode:direct @fault:M123
    Scenario: References cannot be told in advance
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2 20 times and stops at the redirect
      Then the references are all different and follow no order
