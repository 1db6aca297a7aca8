Feature: Every kind of page goes the whole way and is protected
  Claim 12: HTML pages, Java server pages, active server pages and applets. The
  reference serves all four; any one of them satisfies the claim. And a page of
  the server that was asked needs no redirect, and is verified all the same.

  Rule: The whole way of claims 1 to 4

    @pages.whole-way @mode:claimed @mode:sealed @mode:direct @policy:strict @policy:coalesce @policy:read-verify @fault:M151
    Scenario Outline: The <kind> comes by way of another server, with a new token, and the old one is spent
      Given Ada is signed in
      When Ada asks server 1 for the <kind> on server 2
      Then the farm serves Ada
      And server 1 redirected her and server 2 answered with the page
      And the answer with the page carries the new token
      When Ada asks server 2 for the <kind> on server 2
      Then the farm serves Ada
      When Mallory presents Ada's first token to server 2 for the <kind> on server 2
      Then the farm refuses all of it

      @WF-12.1
      Examples:
        | kind     |
        | page     |

      @WF-12.2
      Examples:
        | kind     |
        | JSP page |

      @WF-12.3
      Examples:
        | kind     |
        | ASP page |

      @WF-12.4
      Examples:
        | kind     |
        | applet   |

  Rule: Nobody gets a page without a session

    @pages.protected @fault:M152 @fault:M153 @fault:M154 @fault:M155
    Scenario Outline: The <kind> is refused to who has no session, however it is asked for
      Given Ada is signed in
      And Ada has visited the <kind> on server 2
      When Mallory, who has no session, asks for the <kind> on server 2 plainly
      And Mallory, who has no session, asks for the <kind> on server 2 as a part of another page
      And Mallory, who has no session, asks for the <kind> on server 2 by way of server 1
      And Mallory, who has no session, asks for the <kind> on server 2 with a range
      And Mallory, who has no session, asks for the <kind> on server 2 on condition that it changed
      And Mallory, who has no session, asks for the headers of the <kind> on server 2
      Then the farm refuses all of it

      @WF-12.1
      Examples:
        | kind     |
        | page     |

      @WF-12.2
      Examples:
        | kind     |
        | JSP page |

      @WF-12.3
      Examples:
        | kind     |
        | ASP page |

      @WF-12.4
      Examples:
        | kind     |
        | applet   |

    @pages.spelling @fault:M156 @fault:M157
    Scenario Outline: No other spelling of its address gets the <kind> without a session
      Given Ada is signed in
      And Ada has visited the <kind> on server 2
      When Mallory, who has no session, asks for the <kind> on server 2 under other spellings of its address
      Then the farm refuses all of it

      @WF-12.1
      Examples:
        | kind     |
        | page     |

      @WF-12.2
      Examples:
        | kind     |
        | JSP page |

      @WF-12.3
      Examples:
        | kind     |
        | ASP page |

      @WF-12.4
      Examples:
        | kind     |
        | applet   |

    @pages.path-parameter @WF-12.2 @fault:M158 @fault:M159
    Scenario Outline: A path parameter with <what> opens nothing
      Given Ada is signed in
      When Mallory asks for the JSP page on server 2 with <what> as path parameter
      Then the farm refuses all of it

      Examples:
        | what             |
        | a made-up ID     |
        | Ada's token      |
        | an empty ID      |

  Rule: The applet's bytes (claim 12)

    @pages.applet-parts @WF-12.4 @fault:M160 @fault:M161 @fault:M162
    Scenario Outline: <way>, the applet is given to who has a session and to nobody else
      Given Ada is signed in
      And Ada has visited the applet on server 2
      When Ada asks for the applet on server 2 <how>
      Then the farm serves it
      When Mallory, who has no session, asks for the applet on server 2 <how>
      Then the farm refuses all of it

      Examples:
        | way             | how                           |
        | In part         | with a range                  |
        | On a condition  | on condition that it changed  |
        | As headers only | by its headers                |

  Rule: The page of the server that is asked (D11)

    @pages.holder-at-once @WF-L @policy:strict @policy:coalesce @policy:read-verify @fault:M163
    Scenario: The holder of a page serves it at once, with a new token
      Given Ada is signed in
      When Ada asks server 1 for the page on server 1
      Then the farm serves Ada
      And the page came at once, with a new token

    @pages.holder-spends @WF-L @WF-4.1 @policy:strict @policy:coalesce @policy:read-verify @fault:M164
    Scenario: The holder of a page, asked directly, spends the old token
      Given Ada is signed in
      And Ada has visited the page on server 1
      And Ada has visited the page on server 1
      When Mallory presents Ada's first token to server 1 for the page on server 1
      Then the farm refuses all of it
