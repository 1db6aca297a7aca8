// Command gorilla is one member of a farm whose sessions gorilla/sessions
// keeps in the browser's cookie:
//
//	SESSION_KEY=... gorilla -name server-1 -listen 127.0.0.1:28301
//
// It follows the README of gorilla/sessions: a CookieStore with one key from
// the environment, which the members share, values set and saved, and MaxAge
// -1 at log-out.
package main

import (
	"encoding/json"
	"flag"
	"html/template"
	"log"
	"net/http"
	"os"
	"regexp"
	"time"

	"github.com/gorilla/sessions"
)

const password = "correct horse"

var (
	accounts = regexp.MustCompile(`^u\d{1,6}$`)

	pages = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}} on {{.Member}}</title></head>
<body><h1>{{.Title}} on {{.Member}}</h1>
{{if .User}}<p>Signed in as {{.User}}</p>
<p><a href="/account">Account</a> <a href="/cart">Cart</a> <a href="/logout">Log out</a></p>{{end}}
{{if eq .Title "Welcome"}}<p><a href="/login">Log in</a></p>{{end}}
{{if eq .Title "Log in"}}{{if .Failed}}<p>Wrong name or password.</p>{{end}}<form action="/login" method="post">
Name: <input name="user"> Password: <input name="pass" type="password">
<input type="submit" value="Log in"></form>{{end}}
{{if eq .Title "Cart"}}<ul>{{range .Items}}<li>{{.}}</li>{{end}}</ul>
<form action="/cart" method="post"><input name="item"><input type="submit" value="Add"></form>{{end}}
{{if eq .Title "Log out"}}<form action="/logout" method="post"><input type="submit" value="Log out"></form>{{end}}
</body></html>
`))
)

type page struct {
	Title, Member, User string
	Items               []string
	Failed              bool
}

type member struct {
	name  string
	store *sessions.CookieStore
}

func main() {
	name := flag.String("name", "server-1", "the member's name")
	listen := flag.String("listen", "127.0.0.1:28301", "address to listen on")
	age := flag.Int("age", 86400*30, "seconds after which a cookie is too old; thirty days is the default of gorilla/sessions")
	flag.Parse()

	key := os.Getenv("SESSION_KEY")
	if key == "" {
		log.Fatal("SESSION_KEY is empty")
	}
	m := &member{name: *name, store: sessions.NewCookieStore([]byte(key))}
	m.store.MaxAge(*age)

	mux := http.NewServeMux()
	mux.HandleFunc("/", m.welcome)
	mux.HandleFunc("/login", m.logIn)
	mux.HandleFunc("/logout", m.logOut)
	mux.HandleFunc("/whoami", m.whoami)
	mux.HandleFunc("/account", m.signedIn(func(w http.ResponseWriter, r *http.Request) {
		m.show(w, r, http.StatusOK, page{Title: "Account"})
	}))
	mux.HandleFunc("/cart", m.signedIn(m.cart))
	mux.HandleFunc("/report", m.signedIn(m.report))
	log.Fatal(http.ListenAndServe(*listen, mux))
}

// session is the browser's; an empty one if the cookie is absent or not ours.
func (m *member) session(r *http.Request) *sessions.Session {
	s, _ := m.store.Get(r, "session")
	return s
}

func (m *member) user(r *http.Request) string {
	user, _ := m.session(r).Values["user"].(string)
	return user
}

// save writes the cookie, and says that it could not by an error page.
func (m *member) save(w http.ResponseWriter, r *http.Request) bool {
	if err := m.session(r).Save(r, w); err != nil {
		http.Error(w, "the session could not be saved", http.StatusInternalServerError)
		return false
	}
	return true
}

func (m *member) show(w http.ResponseWriter, r *http.Request, status int, p page) {
	p.Member = m.name
	if p.Title != "Log in" {
		p.User = m.user(r)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := pages.Execute(w, p); err != nil {
		log.Print(err)
	}
}

func (m *member) signedIn(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if m.user(r) == "" {
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		}
		next(w, r)
	}
}

func (m *member) welcome(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	m.show(w, r, http.StatusOK, page{Title: "Welcome"})
}

func (m *member) logIn(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		m.show(w, r, http.StatusOK, page{Title: "Log in"})
		return
	}
	user := r.PostFormValue("user")
	if !accounts.MatchString(user) || r.PostFormValue("pass") != password {
		m.show(w, r, http.StatusUnauthorized, page{Title: "Log in", Failed: true})
		return
	}
	m.session(r).Values["user"] = user
	if !m.save(w, r) {
		return
	}
	http.Redirect(w, r, "/account", http.StatusSeeOther)
}

func (m *member) logOut(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		m.show(w, r, http.StatusOK, page{Title: "Log out"})
		return
	}
	m.session(r).Options.MaxAge = -1
	if !m.save(w, r) {
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (m *member) whoami(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if m.user(r) == "" {
		w.WriteHeader(http.StatusUnauthorized)
		w.Write([]byte(`{"error":"not signed in"}`))
		return
	}
	json.NewEncoder(w).Encode(map[string]string{"user": m.user(r), "member": m.name})
}

func (m *member) cart(w http.ResponseWriter, r *http.Request) {
	items, _ := m.session(r).Values["cart"].([]string)
	if r.Method == http.MethodPost {
		items = append(items, r.PostFormValue("item"))
		m.session(r).Values["cart"] = items
		if !m.save(w, r) {
			return
		}
	}
	m.show(w, r, http.StatusOK, page{Title: "Cart", Items: items})
}

// report takes its time, and the session remembers when it was last asked for.
func (m *member) report(w http.ResponseWriter, r *http.Request) {
	time.Sleep(1500 * time.Millisecond)
	m.session(r).Values["reported"] = time.Now().Unix()
	if !m.save(w, r) {
		return
	}
	m.show(w, r, http.StatusOK, page{Title: "Report"})
}
