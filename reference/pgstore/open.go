package pgstore

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed schema.sql
var schema string

// upgrades lead from each version of the schema to the next.
var upgrades = []string{schema}

const (
	// patience bounds every call: a database that stops answering refuses.
	patience = 5 * time.Second
	// defaultSchema is where the tables are if the URL has no search_path.
	defaultSchema = "farmspec"
	// defaultConns is enough for waiting callers to share the server's flushes.
	defaultConns = 16
)

// Open connects to the database and makes its schema, or brings it up to
// date; several processes may do so at once. The URL is that of psql,
//
//	postgres://USER:PASSWORD@HOST:PORT/DATABASE
//
// and the environment (PGPASSWORD, PGSSLMODE ...) and ~/.pgpass complete it.
// search_path=NAME is the schema that is ours, by default farmspec;
// pool_max_conns=N bounds the connections, by default 16. Open fails, and
// changes nothing, where the schema has another program's tables, or those of
// a newer farmspec. No error shows the password.
func Open(ctx context.Context, address string) (*DB, error) {
	config, err := parse(address)
	if err != nil {
		return nil, fmt.Errorf("open session database: %w", err)
	}
	db := &DB{name: name(config.ConnConfig)}
	if db.pool, err = pgxpool.NewWithConfig(ctx, config); err == nil {
		if err = db.migrate(ctx, config.ConnConfig.RuntimeParams["search_path"]); err != nil {
			db.pool.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open session database %s: %w", db.name, explain(err, config.ConnConfig))
	}
	return db, nil
}

// Remove deletes the URL's schema with all that is in it, where it is ours.
func Remove(ctx context.Context, address string) error {
	db, err := Open(ctx, address)
	if err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err = db.pool.Exec(ctx, `DROP SCHEMA `+quoted(db.pool.Config().ConnConfig)+` CASCADE`)
	return said("remove session database "+db.name, err)
}

func quoted(c *pgx.ConnConfig) string {
	return pgx.Identifier{c.RuntimeParams["search_path"]}.Sanitize()
}

// parse reads the URL and sets what the store rests on.
func parse(address string) (*pgxpool.Config, error) {
	const form = "want postgres://USER:PASSWORD@HOST:PORT/DATABASE, with %XX for special characters in a password"
	// What is wrong with a URL is told with a piece of it, maybe of the password.
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the address is no URL; " + form)
	}
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		var wrong *pgconn.ParseConfigError
		if password, _ := u.User.Password(); errors.As(err, &wrong) && (password == "" || !strings.Contains(err.Error(), password)) {
			return nil, err
		}
		return nil, errors.New("the address has a part that PostgreSQL does not know; " + form)
	}
	c := config.ConnConfig
	if c.RuntimeParams["search_path"] == "" {
		c.RuntimeParams["search_path"] = defaultSchema
	}
	if s := c.RuntimeParams["search_path"]; strings.ContainsAny(s, `,"$ `) {
		return nil, fmt.Errorf("search_path is %q; want the name of one schema", s)
	}
	// An answer rests on what is on the disk (WF-4.4).
	if c.RuntimeParams["synchronous_commit"] == "" {
		c.RuntimeParams["synchronous_commit"] = "on"
	}
	if c.RuntimeParams["synchronous_commit"] == "off" {
		return nil, errors.New("synchronous_commit=off would answer before the commit is on the disk; leave it out")
	}
	c.RuntimeParams["default_transaction_isolation"] = "read committed" // the functions need it
	// The server ends what nobody waits for any more.
	c.RuntimeParams["statement_timeout"] = fmt.Sprint(patience.Milliseconds())
	if u.Query().Get("connect_timeout") == "" {
		c.ConnectTimeout = patience
	}
	if u.Query().Get("pool_max_conns") == "" {
		config.MaxConns = defaultConns
	}
	return config, nil
}

// name is what may be shown of where the database is.
func name(c *pgx.ConnConfig) string {
	shown := fmt.Sprintf("postgres://%s:%d/%s", c.Host, c.Port, c.Database)
	if s := c.RuntimeParams["search_path"]; s != defaultSchema {
		shown += " (schema " + s + ")"
	}
	return shown
}

// migrate makes the schema or brings it up to date.
func (db *DB) migrate(ctx context.Context, in string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		// One at a time in this schema.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('farmspec'), hashtext($1))`, in); err != nil {
			return err
		}
		var exists, ours bool
		var objects int
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1),
			EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'farmspec_schema'),
			(SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1)`, in).Scan(&exists, &ours, &objects)
		if err != nil {
			return err
		}
		version := 0
		switch {
		case ours:
			if err := tx.QueryRow(ctx, `SELECT version FROM farmspec_schema`).Scan(&version); err != nil {
				return err
			}
		case objects > 0:
			return fmt.Errorf("schema %s belongs to another program: name one of its own by search_path=NAME in the URL", in)
		}
		switch {
		case version == len(upgrades):
			return nil
		case version > len(upgrades):
			return fmt.Errorf("schema %s is of version %d, this program knows %d: use a newer farmspec, or another schema by search_path=NAME in the URL",
				in, version, len(upgrades))
		}
		script := strings.Join(upgrades[version:], ";\n")
		if !ours {
			script = "CREATE TABLE farmspec_schema (version int NOT NULL);\nINSERT INTO farmspec_schema VALUES (0);\n" + script
		}
		if !exists {
			script = "CREATE SCHEMA " + pgx.Identifier{in}.Sanitize() + ";\n" + script
		}
		// Without arguments the server takes several statements at once.
		_, err = tx.Exec(ctx, fmt.Sprintf("%s;\nUPDATE farmspec_schema SET version = %d", script, len(upgrades)))
		return err
	})
}

// explain says once what the driver says for each try and each address, and
// adds the cure where it is known.
func explain(err error, c *pgx.ConnConfig) error {
	var refused *pgconn.PgError
	var connect *pgconn.ConnectError
	cure := ""
	switch {
	case errors.As(err, &refused):
		err = refused
		cure = map[string]string{
			"28P01": "the user name or the password is wrong: postgres://USER:PASSWORD@…, PGPASSWORD or ~/.pgpass",
			"28000": "the server does not let this user in from here: see its pg_hba.conf",
			"3D000": "make the database first: createdb " + c.Database,
			"42501": "the user may not make the schema: GRANT CREATE ON DATABASE " + c.Database + " TO " + c.User,
			"53300": "the server has no connection left: raise its max_connections, or lower pool_max_conns in the URL",
			"57P03": "the server is starting or stopping: try again",
		}[refused.Code]
	case errors.As(err, &connect):
		tries := strings.Split(connect.Unwrap().Error(), "\n")
		err = errors.New(strings.Join(slices.Compact(tries), "; "))
		cure = "is PostgreSQL running there, and reachable from here?"
		if strings.Contains(err.Error(), "refused TLS") {
			cure = "a server without TLS wants sslmode=disable in the URL, and a network that nobody listens to"
		}
	}
	if cure == "" {
		return err
	}
	return fmt.Errorf("%w (%s)", err, cure)
}
