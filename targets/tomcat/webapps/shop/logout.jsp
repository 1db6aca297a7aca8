<%@ page contentType="text/html; charset=UTF-8" session="false" %>
<%
  if (request.getMethod().equals("POST")) {
    HttpSession session = request.getSession(false);
    if (session != null) session.invalidate(); // SingleSignOn ends the user's other sessions with it
    response.sendRedirect("index.jsp");
    return;
  }
%>
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Log out</title></head>
<body><form action="<%= response.encodeURL("logout.jsp") %>" method="post"><input type="submit" value="Log out"></form></body></html>
