<%@ page contentType="text/html; charset=UTF-8" %>
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Log in on <%= System.getProperty("farm.member") %></title></head>
<body><h1>Log in on <%= System.getProperty("farm.member") %></h1>
<form action="<%= response.encodeURL("j_security_check") %>" method="post">
Name: <input name="j_username"> Password: <input name="j_password" type="password">
<input type="submit" value="Log in"></form>
</body></html>
