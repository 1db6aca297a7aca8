<?php
require 'shop.php';
header('Content-Type: application/json');
if (isset($_SESSION['user'])) {
    echo json_encode(['user' => $_SESSION['user'], 'member' => member()]);
} else {
    http_response_code(401);
    echo json_encode(['error' => 'not signed in']);
}
