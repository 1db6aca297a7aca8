Feature: One web service verifies for all servers, over one session database
  Claims 10, 11 and 13: a session management web service, which every server
  can reach, compares each token with what the common session database has.
  When it cannot be asked, nothing is served; and it answers nobody but the
  farm's own servers.

  Rule: The service says yes and no (claim 10)

    @service.says-yes-and-no @WF-10.1 @WF-10.2 @needs:service @feature:log-out @fault:M251
    Scenario Outline: Asked about a token read <how>, the service says yes to a good one and no to every other
      Given Ada is signed in
      And Ada has visited the page on server 2
      And Ada has visited the page on server 1
      And Ada's token is read <how>
      When every server asks the service about that token, about altered ones and about one never issued
      Then the service says yes to the good one and no to every other
      When Ada logs out
      Then the service says no to the token it had said yes to

      @level:G @mode:claimed
      Examples:
        | how             |
        | from a hand-off |

      @level:W @needs:keys
      Examples:
        | how               |
        | by the farm's key |

    @service.whichever-is-asked @WF-10.1 @WF-10.2 @fault:M254
    Scenario Outline: Who signs in at server <first> gets to server <second> and back
      When Ada signs in at server <first>, goes to server <second> and back
      Then every page was served

      Examples:
        | first | second |
        | 1     | 2      |
        | 2     | 1      |

    @service.validates-for-both @SY-13.2 @WF-10.2 @level:G @needs:trace @policy:strict @policy:coalesce @policy:read-verify @fault:M260
    Scenario Outline: Server <n> asks the service, and the service compares
      Given Ada is signed in at server <n>
      When Ada asks server <n> for the page on server <n>
      Then the farm serves Ada
      And inside the farm server <n> did "renew"
      And inside the farm the service did "compare"
      And inside the farm server <n> did not do "compare"

      Examples:
        | n |
        | 1 |
        | 2 |

    @service.looks-up @WF-10.3 @level:G @needs:trace @fault:M255
    Scenario: The service looks the session up in the database and compares
      Given Ada is signed in
      When Ada visits the page on server 2
      Then the farm serves Ada
      And inside the farm the service did "lookup" at the database
      And inside the farm the service did "compare"

    @service.row-decides @WF-10.3 @level:W @needs:service @needs:keys @needs:database @fault:M255
    Scenario Outline: Once the stored session is <what>, the service says no to every server
      Given Ada is signed in
      And Ada has visited the page on server 2
      And Ada's token is read by the farm's key
      And the service has said yes to that token, whichever server asked
      When the stored session of that token is <what>
      Then the service says no to the token it had said yes to

      Examples:
        | what    |
        | changed |
        | gone    |

  Rule: When it cannot be asked, nothing is served, and in time

    @service.stopped @WF-10.1 @WF-1.7 @ASVS-16.5.2 @level:G @needs:processes @exclusive @fault:F66 @fault:M250 @fault:M252 @fault:M253
    Scenario: While the service is stopped every hop is refused in time, and afterwards served again
      Given Ada is signed in
      And Ada has visited every page by way of every server
      When the session service stops
      And Ada's token is presented for every page by way of every server
      Then every one of these requests is refused in time
      When the session service is back
      And Ada goes from every server to every other
      Then every page was served

    @service.database-stopped @WF-10.3 @WF-1.7 @ASVS-16.5.2 @level:G @needs:processes @exclusive @fault:M256
    Scenario: While the database is stopped nothing is served, and afterwards everything again
      Given Ada is signed in
      And Ada has visited every page by way of every server
      When the database stops
      And Ada's token is presented for every page by way of every server
      Then every one of these requests is refused in time
      When the database is back
      And Ada goes from every server to every other
      Then every page was served

  Rule: It answers the farm's own servers only

    @service.callers @WF-10.4 @ASVS-13.2.1 @needs:service @fault:F68 @fault:M261
    Scenario Outline: With a token read <how>, no call without a server's credential gets anything or changes anything
      Given Ada is signed in
      And Ben is signed in
      And Ada's token is read <how>
      And Ben's token is read <how>
      And every call of the service was answered for Ben with a server's credential
      When the same calls are made for Ada with no credential and with wrong ones
      Then every one of these calls is turned away
      And Ada's current token still works

      @level:G @mode:claimed
      Examples:
        | how             |
        | from a hand-off |

      @level:W @needs:keys
      Examples:
        | how               |
        | by the farm's key |

    @service.admin-apart @WF-10.4 @level:G @needs:service @needs:admin @fault:M262
    Scenario: No server's credential opens the administrator's calls
      Given Ada is signed in
      And the administrator sees the session of Ada
      When the administrator's calls are made against Ada with each server's credential and with none
      Then every one of these calls is turned away
      And Ada's current token still works

  Rule: The database is common to all servers (claim 11)

    @common.issued-anywhere @WF-11.1 @members:3 @fault:M257
    Scenario: A session opened at the second server is good at the first and the third
      When Ada signs in at server 2, goes to server 1 and to server 3
      Then every page was served

    @common.closed-everywhere @WF-11.1 @feature:log-out @fault:M258
    Scenario: A session opened at the second server and ended at the first is over at every server
      Given Ada is signed in at server 2
      And Ada has visited the page on server 1
      When Ada logs out
      And Mallory presents Ada's last token to every server
      Then the farm refuses all of it

    @common.spent-everywhere @WF-4.1 @WF-11.1 @members:3 @policy:strict @policy:coalesce @policy:read-verify @fault:F67
    Scenario: A token replaced at one server is spent at every server at once
      Given Ada is signed in
      And Ada has visited the page on server 2
      And Ada has visited the page on server 1
      And Ada has visited the page on server 2
      When Mallory presents Ada's first token to every server
      Then the farm refuses all of it

    @common.one-database @WF-11.1 @level:W @needs:database @needs:keys @members:3 @fault:M257
    Scenario: One database has the sessions of all servers
      Given Ada is signed in at server 1
      And Ben is signed in at server 2
      And Carol is signed in at server 3
      When the common session database is read
      Then it holds one open session of Ada
      And it holds one open session of Ben
      And it holds one open session of Carol

  Rule: Servers, service and database are parts of their own (claim 13)

    @parts.own-names @SY-13.1 @level:G @needs:trace @policy:strict @policy:coalesce @policy:read-verify @fault:M260
    Scenario: Each part does its own share of a hop
      Given Ada is signed in
      When Ada asks server 1 for the page on server 2
      Then the farm serves Ada
      And inside the farm server 1 did "redirect"
      And inside the farm the service did "compare"
      And inside the farm the service did "replace" at the database
      And inside the farm server 2 did "respond"

    @parts.server-stops @SY-13.1 @level:G @needs:processes @exclusive @members:3 @fault:M259
    Scenario Outline: Without server <stopped>, servers <first> and <second> serve as before
      Given Ada is signed in at server <first>
      When server <stopped> stops
      Then server <stopped> serves nobody
      When Ada asks server <first> for the page on server <second>
      Then the farm serves Ada
      When server <stopped> is back
      And Ada asks server <second> for the page on server <stopped>
      Then the farm serves Ada

      Examples:
        | stopped | first | second |
        | 1       | 2     | 3      |
        | 2       | 3     | 1      |
        | 3       | 1     | 2      |

    @parts.inner-part-stops @SY-13.1 @level:G @needs:processes @exclusive @fault:M263
    Scenario Outline: Without <part> every other part still answers
      Given Ada is signed in
      When <part> stops
      Then every server still answers
      When <part> is back
      And Ada visits the page on server 2
      Then the farm serves Ada

      Examples:
        | part                |
        | the session service |
        | the database        |

  Rule: No request, however malformed, gets past the verification

    @hostile.methods @WF-1.6 @WF-1.7 @fault:M264 @fault:M265
    Scenario: No method gets a page without a session
      Given Ada is signed in
      And Ada has visited the page on server 2
      When somebody without a session asks for every page on server 2 by every method
      Then none of these requests gets a page or a token
      And Ada's current token still works

    @hostile.servers @WF-1.3 @WF-1.7 @ASVS-16.5.2 @ASVS-16.5.3 @fault:M268
    Scenario: Malformed requests to a server are refused and harm nobody
      Given Ada is signed in
      And Ada has visited the page on server 2
      When malformed requests are sent to servers 1 and 2
      Then each of them is refused
      And those with a token that is none are all refused alike
      And Ada's current token still works

    @hostile.inside @ASVS-16.5.1 @fault:M266
    Scenario: Answers to malformed requests show nothing of a server's inside
      Given Ada is signed in
      And Ada has visited the page on server 2
      When malformed requests are sent to servers 1 and 2
      Then no answer shows anything of the inside
      And Ada's current token still works

    @hostile.service @WF-10.4 @WF-1.7 @ASVS-16.5.1 @needs:service @fault:M267 @fault:M269 @fault:M270
    Scenario Outline: Malformed calls of the service with a token read <how> are refused, show nothing of its inside and change nothing
      Given Ada is signed in
      And Ada's token is read <how>
      And the service has said yes to that token, whichever server asked
      When malformed calls with that token are made to the service
      Then each of them is refused
      And no answer shows anything of the inside
      And the service still says yes to that token
      And Ada's current token still works

      @level:G @mode:claimed
      Examples:
        | how             |
        | from a hand-off |

      @level:W @needs:keys
      Examples:
        | how               |
        | by the farm's key |
