Feature: A log-out reaches every system that takes part
  The note to step 6 of the AS Java workflow: an explicit log-out, of the user
  or of an administrator, can trigger a log-out on all systems that take part in
  SAML 2.0 Single Log-Out. It is an ability (D17): where it is there, a failure
  elsewhere shows, and the log-out at the farm never depends on it. The rules of
  the messages are those of SAML 2.0 Core 3.7 and Profiles 4.4, and of OpenID
  Connect Back-Channel Logout 1.0.

  Rule: Whoever begins it, all are out

    @slo.user @AJ-6.2 @SAML-PROFILES-INITIATORS @level:G @needs:federation @feature:single-log-out @feature:log-out @fault:M700
    Scenario: A user's log-out at the farm ends her sessions everywhere
      Given Ada is signed in through the provider, at the farm and at every participant
      And Ben is signed in through the provider, at the farm and at every participant
      When Ada logs out
      Then Ada is out everywhere
      And Ada is told that everybody has confirmed
      And the log-out requests about Ada give the user as the reason
      And Ben is still signed in at every participant

    @slo.front-channel @AJ-6.2 @SAML-PROFILES-CHANNELS @level:G @needs:federation @needs:fork @feature:single-log-out @feature:log-out @exclusive @fault:M706
    Scenario: A user's log-out that goes by way of her browser ends her sessions everywhere
      Given a farm that sends log-outs by way of the browser
      And Ada is signed in through the provider, at the farm and at every participant
      When Ada logs out
      Then Ada is out everywhere
      And Ada is told that everybody has confirmed

    @slo.administrator @AJ-6.3 @level:G @needs:federation @needs:admin @feature:single-log-out @fault:M701 @fault:M702
    Scenario: An administrator's log-out ends her sessions everywhere, and says whose it is
      Given Ada is signed in through the provider, at the farm and at every participant
      And Ben is signed in through the provider, at the farm and at every participant
      When the administrator logs Ada out
      Then Ada is out everywhere
      And the log-out requests about Ada give an administrator as the reason
      And Ben is still signed in at every participant

    @slo.begun-elsewhere @SAML-PROFILES-INITIATORS @ASVS-7.6.1 @level:G @needs:federation @feature:single-log-out @fault:M716 @fault:M717
    Scenario Outline: A log-out begun at <place> ends her sessions at the farm and everywhere else
      Given Ada is signed in through the provider, at the farm and at every participant
      When Ada logs out at <place>
      Then Ada is out everywhere

      Examples:
        | place         |
        | the provider  |
        | participant 1 |
        | participant 2 |
        | participant 3 |

    @slo.local-log-in @AJ-6.2 @level:G @needs:federation @feature:single-log-out @feature:log-out @fault:M743
    Scenario: The log-out of a session that others have no part in leaves them alone
      Given Ada is signed in through the provider, at the farm and at every participant
      And Ada is signed in on her phone as well
      When Ada's phone is logged out
      Then Ada is still signed in
      And Ada is still signed in at every participant

  Rule: A failure elsewhere shows, and stops nothing

    @slo.participant-down @AJ-6.2 @SAML-PROFILES-PARTIAL @level:G @needs:federation @needs:processes @feature:single-log-out @feature:log-out @exclusive @fault:F52 @fault:M704 @fault:M705
    Scenario: With one participant down the others are out, and the user learns of it
      Given Ada is signed in through the provider, at the farm and at every participant
      And participant 1 is down
      When Ada logs out
      Then Ada is out at the farm
      And Ada is out at the provider
      And Ada is out at every participant but participant 1
      And Ada is told that not everybody has confirmed

    @slo.participant-down-administrator @AJ-6.3 @SAML-PROFILES-PARTIAL @level:G @needs:federation @needs:processes @needs:admin @feature:single-log-out @exclusive @fault:F52 @fault:M705
    Scenario: With one participant down the administrator learns that not everybody has confirmed
      Given Ada is signed in through the provider, at the farm and at every participant
      And participant 1 is down
      When the administrator logs Ada out
      Then Ada is out at the farm
      And Ada is out at every participant but participant 1
      And the administrator is told that not everybody has confirmed

    @slo.provider-down @AJ-6.1 @AJ-6.2 @level:G @needs:federation @needs:processes @feature:single-log-out @feature:log-out @exclusive @fault:M703
    Scenario: With the provider down she is out at the farm all the same, and learns that it is only there
      Given Ada is signed in through the provider, at the farm and at every participant
      And the provider is down
      When Ada logs out
      Then Ada is out at the farm
      And Ada is told that not everybody has confirmed

  Rule: A true request is obeyed, over each channel

    @slo.channels @SAML-PROFILES-CHANNELS @level:G @needs:federation @feature:single-log-out @fault:M707 @fault:M744
    Scenario Outline: A request that comes <channel> ends her session at the farm
      Given Ada is signed in through the provider
      And Ben is signed in through the provider
      When the provider asks the farm <channel> to end Ada's session
      Then Ada is out at the farm
      And Ben is still signed in

      Examples:
        | channel          |
        | by redirect      |
        | by form          |
        | server to server |

    @slo.all-sessions @SAML-CORE-ALL-SESSIONS @level:G @needs:federation @feature:single-log-out @feature:concurrent-sessions @fault:M708
    Scenario: A request that names no session ends all of the subject's
      Given Ada is signed in through the provider
      And Ada is signed in through the provider on her phone as well
      And Ben is signed in through the provider
      When the provider asks the farm server to server to end all of Ada's sessions
      Then Ada is out at the farm
      And Ada's phone is out at the farm
      And Ben is still signed in

    @slo.one-session @SAML-CORE-ALL-SESSIONS @level:G @needs:federation @feature:single-log-out @feature:concurrent-sessions @fault:M709
    Scenario: A request that names a session ends that one alone
      Given Ada is signed in through the provider
      And Ada is signed in through the provider on her phone as well
      When the provider asks the farm server to server to end Ada's session
      Then Ada is out at the farm
      And Ada's phone is still signed in

    @slo.later-assertion @SAML-CORE-LATER-ASSERTIONS @level:G @needs:federation @feature:single-log-out @fault:M710
    Scenario: An assertion that arrives after the log-out it belongs to opens nothing
      Given Ada is signed in through the provider
      And Ben is signed in through the provider
      And Ada has an answer of the provider that is not delivered
      And Ben has an answer of the provider that is not delivered
      And Ben's answer is delivered and lets him in
      When the provider asks the farm server to server to end all of Ada's sessions
      And Ada's answer is delivered
      Then the farm refuses it
      And Ada is out at the farm

  Rule: A request that is not the provider's own, for here and now, ends nothing

    @slo.forged-request @SAML-CORE-AUTHENTICATE @level:G @needs:federation @feature:single-log-out @fault:F53 @fault:M711 @fault:M712
    Scenario: A request that the provider has not signed ends nothing, however it comes
      Given Ada is signed in through the provider
      And true requests server to server, by redirect and by form have logged Ben out of the farm
      Then none of these requests of Mallory's logs Ada out:
        | flaw                         | channel          |
        | without a signature          | server to server |
        | signed with a key of her own | server to server |
        | signed by another party      | server to server |
        | changed after it was signed  | server to server |
        | of an issuer nobody knows    | server to server |
        | wrapped around a true one    | server to server |
        | without a signature          | by redirect      |
        | signed with a key of her own | by redirect      |
        | changed after it was signed  | by redirect      |
        | without a signature          | by form          |
        | signed with a key of her own | by form          |
        | wrapped around a true one    | by form          |

    @slo.stray-request @SAML-CORE-AUTHENTICATE @level:G @needs:federation @feature:single-log-out @fault:M713 @fault:M714
    Scenario: A request of the provider's for another party or another time ends nothing
      Given Ada is signed in through the provider
      And true requests server to server, by redirect and by form have logged Ben out of the farm
      Then none of these requests of Mallory's logs Ada out:
        | flaw                   | channel          |
        | made for another party | by redirect      |
        | that has expired       | server to server |
        | of long ago            | by form          |
        | with a document type   | server to server |

    @slo.replayed-request @SAML-CORE-AUTHENTICATE @level:G @needs:federation @feature:single-log-out @fault:M715
    Scenario: A request that was obeyed once ends no session that began later
      Given Ada is signed in through the provider
      And the provider asks the farm server to server to end all of Ada's sessions
      And Ada is out at the farm
      And Ada signs in anew through the provider
      When Mallory sends the same request again
      Then Ada is still signed in

    @slo.forged-elsewhere @SAML-CORE-AUTHENTICATE @level:G @needs:federation @feature:single-log-out @fault:M718 @fault:M719
    Scenario Outline: A request without a signature ends nothing at <party> either
      Given Ada is signed in through the provider, at the farm and at every participant
      When Mallory sends <party> a request without a signature, server to server, to log Ada out
      Then Ada is still signed in at the provider
      And Ada is still signed in at every participant
      And Ada is still signed in

      Examples:
        | party         |
        | the provider  |
        | participant 1 |

  Rule: A log-out token is obeyed if it is one

    @slo.token-session @OIDC-BCL-SUBJECT @level:G @needs:federation @feature:single-log-out @feature:concurrent-sessions @fault:M728 @fault:M745
    Scenario Outline: A log-out token that names <what> ends that session alone
      Given Ada is signed in through the provider
      And Ada is signed in through the provider on her phone as well
      When the provider asks the farm by log-out token to end Ada's session<how>
      Then Ada is out at the farm
      And Ada's phone is still signed in
      And the answer says that the log-out succeeded

      Examples:
        | what                  | how                  |
        | a session             | , without naming her |
        | a subject and session |                      |

    @slo.token-subject @OIDC-BCL-SUBJECT @level:G @needs:federation @feature:single-log-out @feature:concurrent-sessions @fault:M708
    Scenario: A log-out token that names a subject alone ends all of her sessions
      Given Ada is signed in through the provider
      And Ada is signed in through the provider on her phone as well
      And Ben is signed in through the provider
      When the provider asks the farm by log-out token to end all of Ada's sessions
      Then Ada is out at the farm
      And Ada's phone is out at the farm
      And Ben is still signed in

    @slo.token-nobody @OIDC-BCL-SUBJECT @level:G @needs:federation @feature:single-log-out @fault:M727
    Scenario: A log-out token that names neither is refused
      Given Ada is signed in through the provider
      And true requests by log-out token have logged Ben out of the farm
      When Mallory sends the farm a request of nobody, by log-out token, to log Ada out
      Then the answer says that the log-out failed
      And Ada is still signed in

    @slo.token-forged @OIDC-BCL-CLAIMS @level:G @needs:federation @feature:single-log-out @fault:M720 @fault:M721 @fault:M722 @fault:M723
    Scenario: A log-out token that is not the provider's own, for here and now, ends nothing
      Given Ada is signed in through the provider
      And true requests by log-out token have logged Ben out of the farm
      Then none of these requests of Mallory's logs Ada out:
        | flaw                         | channel          |
        | without a signature          | by log-out token |
        | signed with a key of her own | by log-out token |
        | signed by another party      | by log-out token |
        | changed after it was signed  | by log-out token |
        | of an issuer nobody knows    | by log-out token |
        | made for another party       | by log-out token |
        | that has expired             | by log-out token |
        | of long ago                  | by log-out token |

    @slo.token-type @ASVS-10.5.5 @level:G @needs:federation @feature:single-log-out @fault:M724 @fault:M725 @fault:M726
    Scenario: What lacks the type or the event of a log-out token, or has a nonce, is none
      Given Ada is signed in through the provider
      And true requests by log-out token have logged Ben out of the farm
      Then none of these requests of Mallory's logs Ada out:
        | flaw              | channel          |
        | of another type   | by log-out token |
        | without the event | by log-out token |
        | with a nonce      | by log-out token |

    @slo.token-nonce @OIDC-BCL-NO-NONCE @level:G @needs:federation @feature:single-log-out @fault:M726
    Scenario: A token with a nonce, as ID tokens have one, ends nothing
      Given Ada is signed in through the provider
      And true requests by log-out token have logged Ben out of the farm
      When Mallory sends the farm a request with a nonce, by log-out token, to log Ada out
      Then Ada is still signed in

    @slo.token-replayed @OIDC-BCL-REPLAY @level:G @needs:federation @feature:single-log-out @fault:M729
    Scenario: A log-out token is good once
      Given Ada is signed in through the provider
      And the provider asks the farm by log-out token to end all of Ada's sessions
      And Ada is out at the farm
      And Ada signs in anew through the provider
      When Mallory sends the same request again
      Then Ada is still signed in

    @slo.token-failure @OIDC-BCL-FAILURE @level:G @needs:federation @feature:single-log-out @fault:M730
    Scenario: A log-out token that is refused is answered as a failure
      Given Ada is signed in through the provider
      And true requests by log-out token have logged Ben out of the farm
      When Mallory sends the farm a request signed with a key of her own, by log-out token, to log Ada out
      Then the answer says that the log-out failed

    @slo.token-no-store @OIDC-BCL-NO-STORE @level:G @needs:federation @feature:single-log-out @fault:M731
    Scenario: Whatever is answered to a log-out token, it forbids caching
      Given Ada is signed in through the provider
      When the provider asks the farm by log-out token to end Ada's session
      Then the answer forbids caching
      When Mallory sends the farm a request without a signature, by log-out token, to log Ada out
      Then the answer forbids caching

  Rule: Lifetimes are as documented

    @slo.provider-over @ASVS-7.6.1 @ASVS-7.1.3 @level:G @needs:federation @feature:single-log-out @time @fault:M740 @fault:M741 @fault:M742
    Scenario: Sessions that came of the provider's last as long as it is documented, and no longer
      Given Ada is signed in through the provider, at the farm and at every participant
      When Ada goes on visiting pages until almost the provider's session is over
      Then Ada is still signed in
      And Ada is still signed in at every participant
      When the provider's session is over
      Then Ada is out everywhere

    @slo.comes-back @ASVS-7.6.1 @level:G @needs:federation @feature:single-log-out @time @fault:M742
    Scenario: Who comes back after the farm's session timed out is asked for her password as it is documented
      Given Ada is signed in through the provider
      When the idle time-out passes
      Then Ada is out at the farm
      And Ada comes back through the provider, asked for a password as documented
