<?php
require 'shop.php';
signed_in();
page('Account', who_and_where());
