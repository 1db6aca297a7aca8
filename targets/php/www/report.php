<?php
// A report takes its time, and the session remembers when it was last asked for.
require 'shop.php';
signed_in();
$_SESSION['reported'] = time();
usleep(1500000);
page('Report', who_and_where());
