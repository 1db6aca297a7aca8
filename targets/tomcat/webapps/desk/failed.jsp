<%@ page contentType="text/html; charset=UTF-8" %>
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Log-in failed on <%= System.getProperty("farm.member") %></title></head>
<body><h1>Log-in failed on <%= System.getProperty("farm.member") %></h1>
<p><a href="<%= response.encodeURL("notes.jsp") %>">Try again</a></p>
</body></html>
