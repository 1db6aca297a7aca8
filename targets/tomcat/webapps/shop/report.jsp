<%@ page contentType="text/html; charset=UTF-8" %>
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Report on <%= System.getProperty("farm.member") %></title></head>
<body><h1>Report on <%= System.getProperty("farm.member") %></h1>
<%
  // A report takes its time, and the session remembers when it was last asked for.
  session.setAttribute("reported", System.currentTimeMillis());
  Thread.sleep(1500);
%><p>Signed in as <%= request.getRemoteUser() %></p>
<p><a href="<%= response.encodeURL("account.jsp") %>">Account</a> <a href="<%= response.encodeURL("cart.jsp") %>">Cart</a> <a href="<%= response.encodeURL("../desk/notes.jsp") %>">Notes</a> <a href="<%= response.encodeURL("logout.jsp") %>">Log out</a></p>
</body></html>
