<?php
require 'shop.php';

if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    // As the manual's page on session_destroy() shows it.
    $_SESSION = [];
    $params = session_get_cookie_params();
    setcookie(session_name(), '', time() - 42000, $params['path'], $params['domain'], $params['secure'], $params['httponly']);
    session_destroy();
    header('Location: /');
    exit;
}
page('Log out', '<form method="post"><input type="submit" value="Log out"></form>');
