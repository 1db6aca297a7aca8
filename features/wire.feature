Feature: Nothing on the wire gives a session away
  ASVS 5.0, WSTG, NIST SP 800-63B-4, RFC 9110 and 9111: addresses, referrers,
  caches, redirects and connections, outside the farm and inside, and the
  tokens themselves.

  Rule: Addresses

    @addresses.no-token @ASVS-14.2.1 @SERVLET-7.1.3 @mode:sealed @mode:direct @mode:none @fault:M510
    Scenario: No address has a token in it
      Given Ada is signed in
      When Ada goes everywhere in the farm
      Then no address has a token of hers

    @addresses.open-nothing @ASVS-14.2.1 @SERVLET-7.1.3 @mode:sealed @mode:direct @mode:none @fault:M514
    Scenario: Who learns the addresses that somebody has been at learns nothing more
      Given Ada is signed in
      When Ada goes everywhere in the farm
      And Mallory, who has no session, opens every address that Ada was at
      Then nothing of Ada's was shown

    @redirects.stay @ASVS-3.7.2 @fault:M515 @fault:M516
    Scenario: No address with another site in it makes the farm send the browser there
      Given Ada is signed in
      When Ada signs in and visits pages by addresses that name another site
      Then the farm sent her nowhere but to itself

  Rule: Referrers

    @referrer.policy @ASVS-3.4.5 @fault:F58 @fault:M517
    Scenario: Pages say what other sites may learn of their addresses, and that is no more than the host
      Given Ada is signed in
      When Ada goes everywhere in the farm
      And Ada follows a link from her page to another site
      Then every page of hers sets a policy for referrers
      And the other site learns no more than the host

    @referrer.downgrade @RFC-9110.10.1.3 @feature:tls @fault:M517
    Scenario: No unprotected address learns that one comes from a protected page
      Given Ada is signed in
      When Ada goes everywhere in the farm
      And Ada follows a link from her page to another site
      Then the other site learns nothing of where she comes from

  Rule: Caches

    @caching.pages @ASVS-14.3.2 @fault:M513
    Scenario: Protected pages are kept nowhere
      Given Ada is signed in
      When Ada goes everywhere in the farm
      Then no browser may keep a page of hers

    @caching.tokens @RFC-9111.7.3 @fault:M513 @fault:M518
    Scenario: No cache in front of the farm gives a session cookie to somebody else
      Given Ada is signed in
      When Ada goes everywhere in the farm
      Then no shared cache may use an answer again that brought a session cookie

  Rule: Protected connections

    @tls.no-fallback @NIST-5.1.fallback @feature:tls @fault:M519
    Scenario: Without TLS no server serves a session
      Given Ada is signed in
      And Ada has visited a page on every server
      When Ada's tokens are sent to every server without TLS
      Then none of these requests was served or got a session cookie

    @tls.nothing-plain @NIST-5.1.fallback @feature:tls @fault:M520
    Scenario: No link, form or redirect leads to the farm without TLS
      Given Ada is signed in
      When Ada goes everywhere in the farm
      Then no address of the farm among them is without TLS

    @tls.intermediaries @NIST-5.1.intermediaries @feature:tls @mode:sealed @mode:direct @mode:none @fault:M519 @fault:M531
    Scenario: Nobody on the way learns a token, from a connection or from an address
      Given Ada is signed in
      When Ada goes everywhere in the farm
      And Ada's tokens are sent to every server without TLS
      Then none of these requests was served or got a session cookie
      And no address has a token of hers

    @tls.exposure @WSTG-SESS-04 @feature:tls @mode:sealed @mode:direct @mode:none @fault:M517 @fault:M519 @fault:M531
    Scenario: Tokens are exposed neither by connections nor by addresses, referrers and caches
      Given Ada is signed in
      When Ada goes everywhere in the farm
      And Ada follows a link from her page to another site
      And Ada's tokens are sent to every server without TLS
      Then none of these requests was served or got a session cookie
      And no address has a token of hers
      And the other site learns no more than the host
      And no browser may keep a page of hers

    @tls.browsers-are-told @WSTG-SESS-09 @feature:tls @fault:M521
    Scenario: Browsers are told to come over TLS only
      Given Ada is signed in
      When Ada goes everywhere in the farm
      Then every server tells her browser to come over TLS only

    @tls.inside @ASVS-12.3.3 @level:G @needs:service @feature:tls @fault:M522
    Scenario: The session service takes no call without TLS
      Given Ada is signed in
      When a server's calls are made to the session service without TLS
      Then none of them is answered by the service

    @service.own-credentials @ASVS-13.2.1 @level:G @needs:service @fault:M523
    Scenario: Each server calls the session service with a credential of its own
      Given Ada is signed in
      When the servers' credentials for the session service are compared
      Then no two servers have the same one, and all differ from none

  Rule: The tokens themselves

    @tokens.length @NIST-5.1.secret @WSTG-SESS-01 @fault:M524
    Scenario: At least 64 bits of a token change from one to the next
      Given Ada is signed in
      When many tokens of Ada are collected
      Then at least 64 bits of them differ, and none comes twice

    @tokens.references @ASVS-7.2.3 @ASVS-11.5.1 @fault:M524
    Scenario: At least 128 bits change from one token to the next, where tokens stand for sessions
      Given Ada is signed in
      When many tokens of Ada are collected
      Then at least 128 bits of them differ, unless they are no references

    @tokens.generator @WSTG-SESS-01 @CAS-UNGUESSABLE @NIST-5.1.secret @ASVS-7.2.3 @ASVS-11.5.1 @level:W @needs:service @needs:keys @fault:M525 @fault:F25
    Scenario: A session ID has 128 bits, and none of them leans
      Given Ada is signed in
      When the session service renews Ada's token 1000 times
      Then 128 bits of the renewed session IDs differ, and none of them leans

    @tokens.cipher @ASVS-11.3.2 @level:W @needs:keys @fault:F62
    Scenario: Tokens are sealed by an approved cipher
      Given Ada is signed in
      When Ada's token is opened with the farm's key
      Then it was sealed by a cipher that is approved and authenticates

    @tokens.spliced @WSTG-SESS-01 @fault:M527
    Scenario: Parts of two tokens make no third
      Given Ada is signed in
      And Ben is signed in
      When Mallory presents parts of Ada's and Ben's tokens put together
      Then the farm refuses all of it
      And Ada's current token still works
      And Ben's current token still works

    @tokens.jwt @WSTG-SESS-10 @fault:M528 @fault:M529
    Scenario: No token passes in a weak form of JWT
      Given Ada is signed in
      When Mallory presents Ada's token in every weak form of a JWT
      Then the farm refuses every one of them

    @tokens.logged @ASVS-16.2.5 @level:W @needs:logs @fault:F69
    Scenario: No log shows a token
      Given Ada is signed in
      And Ada has visited a page on every server
      When the logs of the farm are read
      Then none of them shows what Ada carried

  Rule: A hand-off does not last

    @handoff.too-late @ASVS-9.2.1 @CAS-LIFETIME @mode:sealed @time @fault:M530
    Scenario: A hand-off that nobody used is of no use five minutes later
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2 and stops at the redirect
      And five minutes pass
      And Mallory goes straight to the page on server 2 with Ada's hand-off
      Then the farm refuses all of it

    @handoff.one-attempt @CAS-ONE-ATTEMPT @mode:sealed @fault:M532
    Scenario: A hand-off that was refused once is refused to everybody
      Given Ada is signed in
      And Ben is signed in
      And Ben has visited the page on server 2
      When Ada asks server 1 for the page on server 2 and stops at the redirect
      And Ben opens Ada's hand-off
      Then the farm refuses Ben
      When Mallory goes straight to the page on server 2 with Ada's hand-off
      Then the farm refuses all of it
      And Ada's current token still works
