Feature: Every page brings a new token and spends the old one
  Claims 2 to 4: a new session token is made for each page, encrypted by the
  server that answers, sent in the same answer, and put in the place of the old
  one in the common session database.

  Rule: The new token (claims 2 and 3)

    @rotate.honest-user @WF-2.4 @WF-1.1 @fault:F37
    Scenario: An honest user is served by every server
      When Ada signs in and goes around all servers
      Then every page was served

    @rotate.new-token-each-page @WF-2.1 @policy:strict @policy:coalesce @policy:read-verify @fault:M214
    Scenario: Every page brings a token the browser never had
      Given Ada is signed in
      When Ada goes 3 times around all servers
      Then every page was served
      And every page brought a token she had never had

    @rotate.second-server-sends-it @WF-2.2 @policy:strict @policy:coalesce @policy:read-verify @fault:M201
    Scenario: The new token comes from the second server and not from the first
      Given Ada is signed in
      When Ada visits the page on server 2
      Then the farm serves Ada
      And the second server sent the new token and the first sent none

    @rotate.second-server-encrypts @WF-2.2 @SY-14.2 @level:G @needs:trace @policy:strict @policy:coalesce @policy:read-verify @fault:M202
    Scenario: The second server encrypts the new token and answers the browser
      Given Ada is signed in
      When Ada visits the page on server 2
      Then the farm serves Ada
      And inside the farm server 2 did "encrypt" before it answered
      And inside the farm server 1 did not do "encrypt"

    @rotate.fresh-sealing @WF-2.2 @ASVS-11.3.4 @level:W @needs:keys @fault:F63
    Scenario: One token sealed twice looks different each time
      Given Ada is signed in
      When Ada's current token is sealed 32 times with the farm's key
      Then no two of the sealed tokens are equal or share a block
      And each of them opens to Ada's current token

    @rotate.same-answer @WF-2.3 @policy:strict @policy:coalesce @policy:read-verify @fault:M203
    Scenario: The page and its new token come in one answer
      Given Ada is signed in
      When Ada visits the page on server 2
      Then the farm serves Ada
      And the answer with the page carries the new token

    @rotate.every-pair @WF-2.4 @WF-10.2 @members:3 @fault:M213
    Scenario: The new token is good from every server to every other
      Given Ada is signed in
      When Ada goes from every server to every other
      Then every page was served

    @rotate.key-rollout @WF-2.4 @level:W @needs:keys @exclusive @members:3 @fault:F65
    Scenario: While a new key rolls out server by server every token is still good everywhere
      Given Ada is signed in
      When a new key has reached 1 server and Ada goes from every server to every other
      And a new key has reached 2 servers and Ada goes from every server to every other
      And a new key has reached 3 servers and Ada goes from every server to every other
      Then every page was served

    @rotate.long-chain @WF-2.4 @fault:M215
    Scenario: A hundred pages in a row are served
      Given Ada is signed in
      When Ada visits 100 pages in a row, each on another server than the last
      Then every page was served

    @rotate.there-and-back @WF-2.4 @fault:M204
    Scenario: There and back again with the browser's own cookies
      Given Ada is signed in
      When Ada visits the page on server 2
      And Ada visits the page on server 1
      And Ada visits the page on server 2
      Then the farm serves Ada

    @rotate.new-session-id @WF-3.2 @mode:claimed @policy:strict @policy:coalesce @policy:read-verify @fault:F15 @fault:F25
    Scenario: Each new token has a new session ID, as the hand-off shows
      Given Ada is signed in
      When Ada visits 24 pages in a row, each on another server than the last
      Then every page was served
      And the session IDs in the hand-offs are all different and follow no order

    @rotate.new-session-id-inside @WF-3.2 @WF-2.1 @fault:F11 @level:W @needs:keys @policy:strict @policy:coalesce @policy:read-verify @fault:F15 @fault:F25
    Scenario: Each new token has a new session ID, as the farm's key shows
      Given Ada is signed in
      When Ada visits 24 pages in a row, each on another server than the last
      Then every page was served
      And the session IDs in her tokens are all different and follow no order

    @rotate.thousands-of-ids @WF-3.2 @level:W @needs:service @needs:keys @mode:claimed @fault:F25
    Scenario: A thousand session IDs are all different and follow no order
      Given Ada is signed in
      When the session service renews Ada's token 1000 times
      Then the renewed session IDs are all different and follow no order

    @rotate.timestamp-follows @WF-3.3 @level:W @needs:keys @needs:clock @time @policy:strict @policy:coalesce @policy:read-verify @fault:F16
    Scenario: The new timestamp is the instant of the page
      Given Ada is signed in
      When half the idle time-out passes
      And Ada visits the page on server 2
      Then the farm serves Ada
      And the timestamp of Ada's token is the instant of that page

    @rotate.timestamp-follows-url @WF-3.3 @mode:claimed @time @policy:strict @policy:coalesce @policy:read-verify @fault:F16
    Scenario: The new timestamp, as the next hand-off shows, is the instant of the page
      Given Ada is signed in
      When half the idle time-out passes
      And Ada visits the page on server 2
      And Ada visits the page on server 1
      Then the farm serves Ada
      And the timestamp handed over last is the instant of the page before

    @rotate.timestamp-by-service @SY-15.1 @level:W @needs:keys @needs:clock @exclusive @policy:strict @policy:coalesce @policy:read-verify @fault:M205
    Scenario Outline: The timestamp follows the service's clock, not that of <server>
      Given Ada is signed in
      When the clock of server <n> is off by twice the idle time-out
      And Ada visits the page on server 2
      Then the farm serves Ada
      And the timestamp of Ada's token is the instant of that page

      Examples:
        | server            | n |
        | the first server  | 1 |
        | the second server | 2 |

    @rotate.generator-in-service @SY-14.1 @level:G @needs:trace @policy:strict @policy:coalesce @policy:read-verify @fault:M206
    Scenario: The session service generates the new token, no server does
      Given Ada is signed in
      When Ada visits the page on server 2
      Then the farm serves Ada
      And inside the farm the service did "generate"
      And inside the farm server 2 did not do "generate"

  Rule: The old token (claim 4)

    @rotate.old-token-refused @WF-4.1 @WF-2.1 @policy:strict @policy:read-verify @fault:F12 @fault:F11
    Scenario Outline: A token that has been replaced is refused at server <server>
      Given Ada is signed in
      And Ada has visited the page on server 2
      When Mallory presents Ada's earlier token to server <server>
      Then the farm refuses it

      Examples:
        | server |
        | 1      |
        | 2      |

    @rotate.first-token-refused @WF-4.1 @policy:strict @policy:coalesce @policy:read-verify @fault:F12 @fault:M207
    Scenario: The first token of a long session is refused
      Given Ada is signed in
      And Ada has visited the page on server 2
      And Ada has visited the page on server 1
      And Ada has visited the page on server 2
      When Mallory presents Ada's first token
      Then the farm refuses it

    @rotate.replay-harms-nobody @WF-1.7 @RFC-9110.9.2 @replay:reject @fault:M208
    Scenario: A refused old token leaves the session as it was
      Given Ada is signed in
      And Ada has visited the page on server 2
      And Ada has visited the page on server 1
      When Mallory presents Ada's first token
      Then the farm refuses it
      And Ada's current token still works

    @rotate.replay-ends-the-family @ASVS-10.4.5 @replay:revoke-family @fault:F23
    Scenario: An old token gives the theft away, and the session ends for both
      Given Ada is signed in
      And Ada has visited the page on server 2
      And Ada has visited the page on server 1
      When Mallory presents Ada's first token
      Then the farm refuses it
      And Ada's current token no longer works

    @rotate.one-row @WF-4.2 @WF-4.1 @level:W @needs:database @needs:keys @fault:F12
    Scenario: The database holds one token for the session, the newest
      Given Ada is signed in
      And Ada has visited the page on server 2
      And Ada has visited the page on server 1
      When the common session database is read
      Then it holds one open session of Ada
      And its stored token is the one Ada carries

    @rotate.no-fork @WF-4.2 @policy:strict @policy:coalesce @policy:read-verify @time @fault:F18
    Scenario: Two presenters of one token never both have a session that lives on
      Given Ada is signed in
      When 2 browsers present Ada's current token at once, over all servers
      Then the tokens they got lead to no more than one living session

    @rotate.service-replaces @WF-4.1 @SY-16.1 @level:G @needs:trace @policy:strict @policy:coalesce @policy:read-verify @fault:M206
    Scenario: The session service replaces the token in the database, no server does
      Given Ada is signed in
      When Ada visits the page on server 2
      Then the farm serves Ada
      And inside the farm the service did "replace" at the database
      And inside the farm no server spoke to the database

  Rule: Verifying and replacing are one step

    @race.one-winner @WF-4.3 @ASVS-15.4.2 @policy:strict @policy:read-verify @fault:F14
    Scenario: Of many presenters at once no more than one is served
      Given Ada is signed in
      When 6 browsers present Ada's current token at once, over all servers
      Then no more than one of them is served
      And the history is that of a correct farm

    @race.held-together @WF-4.3 @ASVS-15.4.2 @level:G @needs:holds @policy:strict @policy:read-verify @fault:F14
    Scenario: Presenters held together before the replacement have one winner
      Given Ada is signed in
      And requests that present Ada's token are held between verification and replacement
      When 3 browsers present Ada's current token and all are held
      Then no more than one of them is served
      And the history is that of a correct farm

    @race.at-the-service @WF-4.3 @ASVS-15.4.2 @level:W @needs:service @needs:keys @policy:strict @policy:read-verify @replay:reject @fault:F14
    Scenario: Of 64 calls to the session service with one token exactly one is granted
      Given Ada is signed in
      When 64 calls renew Ada's current token at the session service at once
      Then exactly one of the calls is granted
      And the token it returned works

    @race.coalesced @WF-4.3 @policy:coalesce @level:W @needs:keys @fault:F18
    Scenario: Presenters within the grace period all get the one successor
      Given Ada is signed in
      When 6 browsers present Ada's current token at once, over all servers
      Then all of them are served
      And all of them got the same token

  Rule: The replacement is durable before the answer

    @durable.across-restart @WF-4.4 @level:G @needs:processes @needs:fork @exclusive @fault:F19
    Scenario Outline: A new token survives the loss of <part>, and the old one stays spent
      Given a farm whose database outlives its processes
      And Ada is signed in
      And Ada has visited the page on server 2
      When <part> dies and comes back
      Then Ada's current token still works
      And Mallory who presents Ada's first token is refused

      Examples:
        | part                |
        | server 2            |
        | the session service |
        | the database        |

    @durable.consumed-only-if-committed @WF-4.4 @ASVS-16.5.3 @level:W @needs:database @exclusive @fault:F20 @fault:F24
    Scenario: A replacement that is not committed does not consume the token
      Given Ada is signed in
      And Ada has visited the page on server 2
      When the database fails the replacement for Ada's next page
      Then the farm does not serve that page
      And Ada's current token still works

  Rule: Coalescing: within the grace period the predecessor gets the same successor

    @grace.second-tab @WF-2.4 @RFC-9110.9.2 @policy:coalesce @fault:M209
    Scenario: A second tab with the token just replaced is served
      Given Ada is signed in
      And Ada has visited the page on server 2
      When Ada's second tab presents her earlier token
      Then the farm serves it
      And Ada's current token still works

    @grace.one-generation @WF-4.1 @policy:coalesce @fault:M210
    Scenario: The grace is for the immediate predecessor alone
      Given Ada is signed in
      And Ada has visited the page on server 2
      And Ada has visited the page on server 1
      When Mallory presents Ada's first token
      Then the farm refuses it

    @grace.ends @WF-4.1 @policy:coalesce @time @fault:M211
    Scenario: When the grace period has passed the predecessor is refused
      Given Ada is signed in
      And Ada has visited the page on server 2
      When the grace period passes
      And Mallory presents Ada's earlier token
      Then the farm refuses it

  Rule: Read-verify: only a document brings a new token

    @readverify.resource-keeps-token @WF-2.4 @policy:read-verify @fault:M212
    Scenario: A resource of the page is served and leaves the token as it is
      Given Ada is signed in
      When Ada's page asks for the applet on server 1 as a resource
      Then the farm serves it
      And Ada still carries the token she had
      And Ada's current token still works
