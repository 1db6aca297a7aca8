<?php
require 'shop.php';

$failed = '';
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    $user = $_POST['user'] ?? '';
    if (is_string($user) && preg_match('/^u\d{1,6}$/D', $user) && ($_POST['pass'] ?? '') === PASSWORD) {
        session_regenerate_id(true);
        $_SESSION = ['user' => $user];
        header('Location: /account.php' . (SID === '' ? '' : '?' . SID)); // SID is empty where a cookie carries the session
        exit;
    }
    http_response_code(401);
    $failed = '<p>Wrong name or password.</p>';
}
page('Log in', $failed . '<form method="post">
Name: <input name="user"> Password: <input name="pass" type="password">
<input type="submit" value="Log in"></form>');
