Feature: The cookies that carry a session keep to the rules for cookies
  ASVS 5.0 (V3), WSTG, NIST SP 800-63B-4 and RFC 6265bis: who may see the
  cookie, where it goes, and what becomes of a browser that loses it. A session
  cookie is the one that carries the token, and those it needs beside it.

  Rule: Attributes and names

    @cookies.secure @ASVS-3.3.1 @NIST-5.1.1.secure @WSTG-SESS-09 @feature:tls @fault:M501
    Scenario: Session cookies go over protected connections only
      Given Ada is signed in
      When Ada goes everywhere in the farm
      Then every session cookie is for protected connections only

    @cookies.secure-by-name @ASVS-3.3.1 @feature:tls @fault:M502
    Scenario: The names of session cookies say that they need a protected connection
      Given Ada is signed in
      When Ada goes everywhere in the farm
      Then every session cookie has a prefix for protected connections

    @cookies.host-by-name @ASVS-3.3.3 @NIST-5.1.1.prefix @feature:tls @topology:single-host @topology:split-domain @fault:M503
    Scenario: The names of session cookies that no other host shares bind them to their host
      Given Ada is signed in
      When Ada goes everywhere in the farm
      Then every session cookie has the prefix that binds it to its host

    @cookies.http-only @ASVS-3.3.4 @NIST-5.1.1.httponly @fault:M504
    Scenario: No script of a page reads a session cookie
      Given Ada is signed in
      When Ada goes everywhere in the farm
      Then every session cookie is closed to scripts

    @cookies.same-site-set @ASVS-3.3.2 @fault:M505
    Scenario: Each session cookie says whether it goes along with requests of other sites
      Given Ada is signed in
      When Ada goes everywhere in the farm
      Then every session cookie says whether it goes along with requests of other sites

    @cookies.same-site @NIST-5.1.1.samesite @fault:M505 @fault:M506
    Scenario: No session cookie goes along with what another site posts
      Given Ada is signed in
      When Ada goes everywhere in the farm
      Then every session cookie stays behind when another site posts

    @cookies.scope @NIST-5.1.1.scope @fault:F61
    Scenario: Session cookies reach the hosts of the farm and no others
      Given Ada is signed in
      When Ada goes everywhere in the farm
      Then every session cookie reaches the farm's hosts and no others

    @cookies.kept @RFC-6265bis.prefix @fault:M507
    Scenario: A browser that is strict about prefixes keeps every cookie of the farm
      Given Ada is signed in
      When Ada goes everywhere in the farm
      Then her browser has refused no cookie for its prefix

    @cookies.size @ASVS-3.3.5 @fault:M508
    Scenario: No cookie is so large that a browser would leave it out
      Given Ada is signed in
      When Ada goes everywhere in the farm
      Then no cookie has more than 4096 bytes of name and value

    @cookies.attributes @WSTG-SESS-02 @feature:tls @fault:M501 @fault:M504 @fault:M505
    Scenario: Over protected connections the attributes of session cookies are right, one and all
      Given Ada is signed in
      When Ada goes everywhere in the farm
      Then every session cookie is for protected connections only
      And every session cookie is closed to scripts
      And every session cookie says whether it goes along with requests of other sites
      And every session cookie reaches the farm's hosts and no others

  Rule: The value stays in the cookie

    @cookies.value-stays @ASVS-3.3.4 @SERVLET-7.1.3 @fault:M509 @fault:M510
    Scenario: No page and no address shows the value of a session cookie
      Given Ada is signed in
      When Ada goes everywhere in the farm
      Then no page and no address has the value of a session cookie

  Rule: A browser that loses cookies

    @cookies.lost @RFC-6265bis.eviction @fault:M511
    Scenario: Whichever cookie a browser has lost, the farm serves it or asks for a log-in
      Given Ada is signed in
      And Ada has visited the page on server 2
      When Ada's browser loses its cookies, one name at a time
      Then each time she is served or refused in order, and can sign in again

    @logout.clears-cookies @ASVS-14.3.1 @feature:log-out @fault:M512
    Scenario: After log-out the browser no longer holds what the session was known by
      Given Ada is signed in
      And Ada has visited the page on server 2
      When Ada logs out
      Then her browser holds no session cookie of before for that server

    @logout.back-button @ASVS-14.3.1 @feature:log-out @fault:M513
    Scenario: After log-out the back button shows nothing of the session
      Given Ada is signed in
      When Ada goes everywhere in the farm
      And Ada logs out
      Then going back shows nothing of hers
