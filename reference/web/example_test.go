package web_test

import (
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/memstore"
	"github.com/farmspec/farmspec/reference/web"
)

// A farm in few lines: one session service, and members that reach it over HTTP.
func Example() {
	users := new(reference.Users)
	if err := users.Add("ada", "her password"); err != nil {
		log.Fatal(err)
	}
	service, err := reference.NewService(reference.Options{Store: memstore.Open(), Users: users})
	if err != nil {
		log.Fatal(err)
	}
	api := httptest.NewServer(web.NewAPI(service, web.APIOptions{Credentials: map[string]string{"server-1": "secret-1", "server-2": "secret-2"}}))
	defer api.Close()

	key, err := reference.NewKey(1, rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	directory, err := web.NewDirectory(
		web.Member{Name: "server-1", URL: "http://s1.farm.localhost:8081"},
		web.Member{Name: "server-2", URL: "http://s2.farm.localhost:8082"},
	)
	if err != nil {
		log.Fatal(err)
	}
	server1, err := web.NewServer(web.ServerConfig{
		Name:     "server-1",
		Farm:     web.Farm{Directory: directory, Domain: "farm.localhost"},
		Sessions: web.NewClient(web.ClientOptions{URL: api.URL, Member: "server-1", Secret: "secret-1"}),
		Sealer:   reference.NewCodec(reference.NewKeyRing(key), rand.Reader),
	})
	if err != nil {
		log.Fatal(err)
	}

	r := httptest.NewRequest(http.MethodGet, "http://s1.farm.localhost:8081/server-2/welcome.html", nil)
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	server1.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Location"))
	// Output: 303 http://s1.farm.localhost:8081/login?next=%2Fserver-2%2Fwelcome.html
}
