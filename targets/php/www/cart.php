<?php
require 'shop.php';
signed_in();
if ($_SERVER['REQUEST_METHOD'] === 'POST' && is_string($_POST['item'] ?? null)) {
    $_SESSION['cart'][] = $_POST['item'];
}
$items = '';
foreach ($_SESSION['cart'] ?? [] as $item) {
    $items .= '<li>' . htmlspecialchars($item) . '</li>';
}
page('Cart', "<ul>$items</ul>
<form method=\"post\"><input name=\"item\"><input type=\"submit\" value=\"Add\"></form>" . who_and_where());
