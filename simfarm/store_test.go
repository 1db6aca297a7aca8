package simfarm_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference/storetest/dbtest"
	"github.com/farmspec/farmspec/simfarm"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Run(m)) }

// Farms that are kept apart on one server share nothing with each other or
// with their forks, find their sessions again after a stop, and leave nothing.
func TestApartOnOneServer(t *testing.T) {
	for name, server := range map[string]func(testing.TB) string{"PostgreSQL": dbtest.Postgres, "Redis": dbtest.Redis} {
		t.Run(name, func(t *testing.T) {
			address := server(t)
			before := schemas(t, address)
			func() {
				o := simfarm.Options{Database: address, Apart: true}
				a, err := simfarm.Open(t.Context(), o)
				must(t, err)
				defer func() { must(t, a.Close()) }()
				b, err := simfarm.Open(t.Context(), o)
				must(t, err)
				defer func() { must(t, b.Close()) }()
				fork, closeFork, err := a.Fork(t.Context(), farmspec.Variation{Durable: true})
				must(t, err)
				defer func() { must(t, closeFork()) }()
				farms := []*farmspec.Target{a.Target(), b.Target(), fork}
				for i, target := range farms {
					v := signIn(t, target)
					token := v.token(target.Members[0])
					for j, other := range farms {
						rows, err := other.Hooks.Database.Rows(t.Context(), "")
						must(t, err)
						has := slices.ContainsFunc(rows, func(r farmspec.Row) bool { return r.Token == token })
						if has != (i == j) {
							t.Errorf("a session of farm %d is in the database of farm %d: %v", i, j, has)
						}
					}
					must(t, target.Hooks.Processes.Stop(t.Context(), farmspec.DatabaseProcess))
					v.mustNotSee(target.Members[0], html(t, target, target.Members[0]), "the database is stopped")
					must(t, target.Hooks.Processes.Start(t.Context(), farmspec.DatabaseProcess))
					v.mustSee(target.Members[0], html(t, target, target.Members[0]))
				}
			}()
			for schema := range schemas(t, address) {
				if !before[schema] {
					t.Errorf("schema %s is left behind", schema)
				}
			}
		})
	}
}

func TestRedacted(t *testing.T) {
	for _, tc := range []struct{ text, want, why string }{
		{"farmspec run --store redis://:p@127.0.0.1:6379/0 --seed 1", "farmspec run --store redis://...@127.0.0.1:6379/0 --seed 1", "a password alone"},
		{"postgres://ada:p%40x@db/farm?sslmode=disable", "postgres://...@db/farm?sslmode=disable", "user and password"},
		{"redis://ada:p@x@127.0.0.1/0", "redis://...@127.0.0.1/0", "an @ that should have been %40"},
		{"postgres://db/farm?password=p&sslmode=disable", "postgres://db/farm?password=...&sslmode=disable", "as a parameter"},
		{"http://127.0.0.1:8080/a@b", "http://...@b", "too much rather than too little"},
		{"sqlite:farm.db and memory", "sqlite:farm.db and memory", "nothing to hide"},
	} {
		if got := simfarm.Redacted(tc.text); got != tc.want {
			t.Errorf("Redacted(%q) = %q, want %q (%s)", tc.text, got, tc.want, tc.why)
		}
	}
}

// schemas are those of farms in a PostgreSQL database; none elsewhere.
func schemas(t *testing.T, address string) map[string]bool {
	t.Helper()
	if !strings.HasPrefix(address, "postgres") {
		return nil
	}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, address)
	must(t, err)
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `SELECT nspname FROM pg_namespace WHERE nspname LIKE 'farmspec\_%' AND nspname NOT LIKE 'farmspec\_test\_%'`)
	must(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	found := make(map[string]bool)
	for _, n := range names {
		found[n] = true
	}
	return found
}
