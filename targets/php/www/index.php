<?php
echo '<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Welcome</title></head>
<body><h1>Welcome on ' . getenv('FARM_MEMBER') . '</h1>
<p><a href="/login.php">Log in</a></p>
</body></html>
';
