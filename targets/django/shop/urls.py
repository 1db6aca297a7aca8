from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.welcome),
    path("account/", views.account),
    path("cart/", views.cart),
    path("report/", views.report),
    path("whoami/", views.whoami),
    path("leave/", views.leave),
    path("accounts/", include("django.contrib.auth.urls")),
]
