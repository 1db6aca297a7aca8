<%@ page contentType="text/html; charset=UTF-8" session="false" %>
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Welcome on <%= System.getProperty("farm.member") %></title></head>
<body><h1>Welcome on <%= System.getProperty("farm.member") %></h1>
<p><a href="<%= response.encodeURL("account.jsp") %>">Log in</a></p>
</body></html>
