"""Makes the accounts u1 to u1000, once: manage.py shell < accounts.py"""
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User

if not User.objects.exists():
    hashed = make_password("correct horse")
    User.objects.bulk_create([User(username=f"u{n}", password=hashed) for n in range(1, 1001)])
