package simfarm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/memstore"
	"github.com/farmspec/farmspec/reference/pgstore"
	"github.com/farmspec/farmspec/reference/redisstore"
	"github.com/farmspec/farmspec/reference/sqlstore"
)

// server is a kind of database server: how to open a store on one, how to
// take the store away, and which parameter of an address keeps stores apart.
type server struct {
	open   func(ctx context.Context, address string) (reference.Store, error)
	remove func(ctx context.Context, address string) error
	space  string
}

var (
	postgres = server{
		func(ctx context.Context, address string) (reference.Store, error) { return pgstore.Open(ctx, address) },
		pgstore.Remove, "search_path",
	}
	redis = server{
		func(ctx context.Context, address string) (reference.Store, error) {
			return redisstore.Open(ctx, address)
		},
		redisstore.Remove, "prefix",
	}
)

// servers are the kinds, by the scheme of an address.
var servers = map[string]server{
	"postgres": postgres, "postgresql": postgres,
	"redis": redis, "rediss": redis, "unix": redis,
}

// serverOf returns the kind of server that a database's name is the address of.
func serverOf(database string) (server, bool) {
	scheme, _, found := strings.Cut(database, "://")
	s, known := servers[scheme]
	return s, found && known
}

// OnServer reports whether the name of a database is the address of a
// database server, which keeps sessions when the program ends.
func OnServer(database string) bool {
	_, is := serverOf(database)
	return is
}

// apart returns the address of a store on the same server that is nobody's yet.
func (s server) apart(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address // opening it says what is wrong
	}
	q := u.Query()
	q.Set(s.space, "farmspec_"+strings.ToLower(rand.Text()[:12]))
	u.RawQuery = q.Encode()
	return u.String()
}

// OpenStore opens the session database of that name, as Options.Database has
// it. The caller closes it, where it is an io.Closer, after the farm.
func OpenStore(ctx context.Context, name string) (reference.Store, error) {
	d, err := Options{Database: name}.opener()
	if err != nil {
		return nil, err
	}
	return d.open(ctx)
}

// CheckDatabase refuses what is no name of a database. It opens nothing.
func CheckDatabase(name string) error {
	_, err := Options{Database: name}.opener()
	return err
}

// OpenApart opens a store of that name which shares nothing with others, as
// Options.Apart has it. The function closes it and takes it away.
func OpenApart(ctx context.Context, name string) (reference.Store, func() error, error) {
	d, err := Options{Database: name, Apart: true}.opener()
	if err != nil {
		return nil, nil, err
	}
	s, err := d.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	return s, func() error {
		err := closeStore(s)
		if d.remove != nil {
			err = errors.Join(err, d.remove(context.WithoutCancel(ctx)))
		}
		return err
	}, nil
}

// opener is how a farm gets its session database.
type opener struct {
	open func(context.Context) (reference.Store, error)
	// durable: it outlives a stop, so that a start opens it again.
	durable bool
	// remove, unless nil, takes it away after the farm.
	remove func(context.Context) error
}

func (o Options) opener() (opener, error) {
	if o.Store != nil {
		return opener{open: func(context.Context) (reference.Store, error) { return o.Store, nil }}, nil
	}
	path, sqlite := strings.CutPrefix(o.Database, "sqlite:")
	s, onServer := serverOf(o.Database)
	switch {
	case o.Database == "memory":
		return opener{open: func(context.Context) (reference.Store, error) { return memstore.Open(), nil }}, nil
	case sqlite && path != "":
		return opener{
			open:    func(context.Context) (reference.Store, error) { return sqlstore.Open(path) },
			durable: path != ":memory:",
		}, nil
	case onServer:
		address := o.Database
		d := opener{durable: true}
		if o.Apart {
			address = s.apart(address)
			d.remove = func(ctx context.Context) error { return s.remove(ctx, address) }
		}
		d.open = func(ctx context.Context) (reference.Store, error) { return s.open(ctx, address) }
		return d, nil
	}
	return opener{}, fmt.Errorf("open session database: no store %q; want %s", Redacted(o.Database), suggestStore(o.Database))
}

func suggestStore(given string) string {
	const all = "memory, sqlite:FILE, sqlite::memory:, postgres://HOST:PORT/DATABASE or redis://HOST:PORT/NUMBER"
	kind, rest, _ := strings.Cut(given, ":")
	switch near := farmspec.Suggest(kind, []string{"memory", "sqlite", "sqlite3", "postgres", "redis"}); {
	case near == "memory", near == "postgres", near == "redis":
		return all + " (did you mean " + near + "?)"
	case near != "" && rest != "":
		return all + " (did you mean sqlite:" + strings.TrimPrefix(rest, "//") + "?)"
	case near != "":
		return all + " (did you mean sqlite:farm.db?)"
	case strings.HasSuffix(given, ".db") || strings.HasSuffix(given, ".sqlite"):
		return all + " (did you mean sqlite:" + given + "?)"
	}
	return all
}

var credentials = regexp.MustCompile(`://\S*@|\bpassword=[^\s&]*`)

// Redacted takes user names and passwords out of the addresses in a text.
func Redacted(text string) string {
	return credentials.ReplaceAllStringFunc(text, func(c string) string {
		if strings.HasPrefix(c, "://") {
			return "://...@"
		}
		return "password=..."
	})
}
