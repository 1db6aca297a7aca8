// Command scs is one member of a farm whose sessions alexedwards/scs manages:
//
//	scs -name server-1 -listen 127.0.0.1:28201 -redis 127.0.0.1:28203
//
// It follows the README of scs: LoadAndSave around the mux, RenewToken at
// log-in, Destroy at log-out, and a Redis store that the members share.
package main

import (
	"encoding/json"
	"flag"
	"html/template"
	"log"
	"net/http"
	"regexp"
	"time"

	"github.com/alexedwards/scs/redisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/gomodule/redigo/redis"
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
	name     string
	sessions *scs.SessionManager
}

func main() {
	name := flag.String("name", "server-1", "the member's name")
	listen := flag.String("listen", "127.0.0.1:28201", "address to listen on")
	store := flag.String("redis", "127.0.0.1:28203", "address of Redis")
	idle := flag.Duration("idle", 0, "how long a session may rest; zero is for ever, scs's default")
	life := flag.Duration("life", 24*time.Hour, "how long a session may last; a day is scs's default")
	flag.Parse()

	m := &member{name: *name, sessions: scs.New()}
	m.sessions.IdleTimeout, m.sessions.Lifetime = *idle, *life
	m.sessions.Store = redisstore.New(&redis.Pool{
		MaxIdle: 10,
		Dial:    func() (redis.Conn, error) { return redis.Dial("tcp", *store) },
	})

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
	log.Fatal(http.ListenAndServe(*listen, m.sessions.LoadAndSave(mux)))
}

func (m *member) user(r *http.Request) string { return m.sessions.GetString(r.Context(), "user") }

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
	if err := m.sessions.RenewToken(r.Context()); err != nil {
		http.Error(w, "log-in failed", http.StatusInternalServerError)
		return
	}
	m.sessions.Put(r.Context(), "user", user)
	http.Redirect(w, r, "/account", http.StatusSeeOther)
}

func (m *member) logOut(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		m.show(w, r, http.StatusOK, page{Title: "Log out"})
		return
	}
	if err := m.sessions.Destroy(r.Context()); err != nil {
		http.Error(w, "log-out failed", http.StatusInternalServerError)
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
	items, _ := m.sessions.Get(r.Context(), "cart").([]string)
	if r.Method == http.MethodPost {
		items = append(items, r.PostFormValue("item"))
		m.sessions.Put(r.Context(), "cart", items)
	}
	m.show(w, r, http.StatusOK, page{Title: "Cart", Items: items})
}

// report takes its time, and the session remembers when it was last asked for.
func (m *member) report(w http.ResponseWriter, r *http.Request) {
	m.sessions.Put(r.Context(), "reported", time.Now().Unix())
	time.Sleep(1500 * time.Millisecond)
	m.show(w, r, http.StatusOK, page{Title: "Report"})
}
