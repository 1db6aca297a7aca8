<%@ page contentType="application/json; charset=UTF-8" %>{"user":"<%= request.getRemoteUser() %>","member":"<%= System.getProperty("farm.member") %>"}
