package sqlstore

import (
	"context"
	"database/sql"
)

// SetDisabled implements reference.Store.
func (db *DB) SetDisabled(ctx context.Context, user string, disabled bool) error {
	set := `DELETE FROM disabled_users WHERE user = ?`
	if disabled {
		set = `INSERT INTO disabled_users (user) VALUES (?) ON CONFLICT DO NOTHING`
	}
	return said("mark user", db.change(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(set, user)
		return err
	}))
}

// Disabled implements reference.Store.
func (db *DB) Disabled(ctx context.Context, user string) (is bool, err error) {
	err = db.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM disabled_users WHERE user = ?)`, user).Scan(&is)
	return is, said("look up user", err)
}
