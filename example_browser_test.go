package farmspec_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/farmspec/farmspec"
)

// A browser logs in, and what the farm set stays in its cookies.
func ExampleBrowser() {
	farm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.Header().Set("Set-Cookie", "__Host-token=t; Secure; HttpOnly; Path=/")
			http.Redirect(w, r, "/home", http.StatusSeeOther)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<form method=post><input type=hidden name=csrf value=c><input name=user></form>`)
	}))
	defer farm.Close()

	ctx := context.Background()
	ada := farmspec.NewBrowser(farmspec.BrowserOptions{Name: "ada"})
	defer ada.Close()
	login, err := ada.Open(ctx, farm.URL+"/login")
	if err != nil {
		panic(err)
	}
	home, err := ada.Submit(ctx, login, "", map[string]string{"user": "ada"})
	if err != nil {
		panic(err)
	}
	for _, x := range home.Exchanges {
		fmt.Printf("%s %d %q\n", x.Method, x.Status, x.RequestBody)
	}
	token, ok := ada.Cookie(farm.URL, "__Host-token")
	fmt.Println(ok, token.HTTPOnly, token.Path)
	// Output:
	// POST 303 "csrf=c&user=ada"
	// GET 200 ""
	// true true /
}
