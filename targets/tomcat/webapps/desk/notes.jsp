<%@ page contentType="text/html; charset=UTF-8" import="java.util.ArrayList" %>
<%!
  static String escape(String s) {
    return s.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
  }
%>
<%
  request.setCharacterEncoding("UTF-8");
  @SuppressWarnings("unchecked")
  ArrayList<String> items = (ArrayList<String>) session.getAttribute("items");
  items = items == null ? new ArrayList<>() : new ArrayList<>(items);
  if (request.getMethod().equals("POST") && request.getParameter("item") != null) {
    items.add(request.getParameter("item"));
    session.setAttribute("items", items);
  }
%>
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Notes on <%= System.getProperty("farm.member") %></title></head>
<body><h1>Notes on <%= System.getProperty("farm.member") %></h1>
<p>Signed in as <%= request.getRemoteUser() %></p>
<ul><% for (String item : items) { %><li><%= escape(item) %></li><% } %></ul>
<form action="<%= response.encodeURL("notes.jsp") %>" method="post"><input name="item"><input type="submit" value="Add"></form>
<p><a href="<%= response.encodeURL("../shop/account.jsp") %>">Account</a> <a href="<%= response.encodeURL("../shop/cart.jsp") %>">Cart</a> <a href="<%= response.encodeURL("notes.jsp") %>">Notes</a> <a href="<%= response.encodeURL("../shop/logout.jsp") %>">Log out</a></p>
</body></html>
