<?php
// What the pages share.
const PASSWORD = 'correct horse';

session_start();

function member(): string
{
    return getenv('FARM_MEMBER');
}

function page(string $title, string $body): void
{
    $member = member();
    echo <<<HTML
    <!DOCTYPE html>
    <html lang="en"><head><meta charset="utf-8"><title>$title on $member</title></head>
    <body><h1>$title on $member</h1>
    $body
    </body></html>

    HTML;
}

function signed_in(): void
{
    if (!isset($_SESSION['user'])) {
        header('Location: /login.php');
        exit;
    }
}

function who_and_where(): string
{
    return '<p>Signed in as ' . htmlspecialchars($_SESSION['user']) . '</p>
<p><a href="/account.php">Account</a> <a href="/cart.php">Cart</a> <a href="/logout.php">Log out</a></p>';
}
