import time

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import JsonResponse
from django.shortcuts import render


def member(request):
    """Tells every template which member of the farm it is on."""
    return {"member": settings.MEMBER}


def welcome(request):
    return render(request, "welcome.html")


@login_required
def account(request):
    return render(request, "page.html", {"title": "Account"})


@login_required
def cart(request):
    items = request.session.get("cart", [])
    if request.method == "POST":
        items = items + [request.POST.get("item", "")]
        request.session["cart"] = items
    return render(request, "cart.html", {"title": "Cart", "items": items})


@login_required
def report(request):
    """Takes its time, and the session remembers when it was last asked for."""
    request.session["reported"] = int(time.time())
    time.sleep(1.5)
    return render(request, "page.html", {"title": "Report"})


def leave(request):
    return render(request, "leave.html")


def whoami(request):
    if not request.user.is_authenticated:
        return JsonResponse({"error": "not signed in"}, status=401)
    return JsonResponse({"user": request.user.get_username(), "member": settings.MEMBER})
