<%@ page contentType="text/html; charset=UTF-8" %>
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Account on <%= System.getProperty("farm.member") %></title></head>
<body><h1>Account on <%= System.getProperty("farm.member") %></h1>
<p>Signed in as <%= request.getRemoteUser() %></p>
<p><a href="<%= response.encodeURL("account.jsp") %>">Account</a> <a href="<%= response.encodeURL("cart.jsp") %>">Cart</a> <a href="<%= response.encodeURL("../desk/notes.jsp") %>">Notes</a> <a href="<%= response.encodeURL("logout.jsp") %>">Log out</a></p>
</body></html>
