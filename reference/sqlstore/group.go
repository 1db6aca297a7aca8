package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// group gathers changes that wait for the one writer, so that they become
// durable together: a commit waits for the disk once, however many changes
// it carries. It starts no goroutine; one of those who wait leads the others.
type group struct {
	writer  chan struct{} // holds one value while nobody writes; closed with the database
	mu      sync.Mutex
	waiting []*pending // in the order in which they came
}

// pending is a change that waits, or has been taken by a leader.
type pending struct {
	f    func(*sql.Tx) error
	err  error         // of the change, once done is closed
	done chan struct{} // closed when what the change did, or its refusal, is durable
}

func newGroup() *group {
	g := &group{writer: make(chan struct{}, 1)}
	g.writer <- struct{}{}
	return g
}

// change makes one change within a write transaction that it may share with
// others. Whoever waits for his turn may give up; once begun it runs to its
// end. An error of f takes back what f did and nothing else. Its answer, be it
// success or refusal, waits for the commit: a refusal may rest on a neighbour's
// change. Where the transaction itself fails, all changes in it fail and none
// has happened, as far as that can be known.
func (db *DB) change(ctx context.Context, f func(*sql.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p := &pending{f: f, done: make(chan struct{})}
	db.group.add(p)
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		if db.group.giveUp(p) {
			return ctx.Err()
		}
		<-p.done
		return p.err
	case _, open := <-db.group.writer:
		if !open {
			if db.group.giveUp(p) {
				return sql.ErrConnDone
			}
			<-p.done
			return p.err
		}
	}
	defer func() { db.group.writer <- struct{}{} }()
	// Those whom the last commit has just answered are about to ask again:
	// let them, or groups of many and of one would take turns.
	runtime.Gosched()
	db.commit(db.group.take())
	return p.err
}

func (g *group) add(p *pending) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, p)
}

// giveUp removes a change that still waits. False means that it has begun.
func (g *group) giveUp(p *pending) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, p)
	if i < 0 {
		return false
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	return true
}

func (g *group) take() []*pending {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.waiting
	g.waiting = nil
	return all
}

// commit makes the changes in one transaction, in their order, and answers
// each. Only the leader calls it. There may be none left: another leader may
// have carried out the leader's own.
func (db *DB) commit(all []*pending) {
	if len(all) == 0 {
		return
	}
	err := db.transact(all)
	for _, p := range all {
		if err != nil {
			p.err = err
		}
		close(p.done)
	}
}

// transact leaves each change's own outcome in it, and returns an error where
// the transaction failed and with it every change.
func (db *DB) transact(all []*pending) error {
	tx, err := db.write.Begin()
	if err != nil {
		return err
	}
	if len(all) == 1 {
		err = all[0].f(tx)
	} else {
		for _, p := range all {
			if err = db.within(tx, p); err != nil {
				break
			}
		}
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// within makes one change of several, and takes back an unsuccessful one.
func (db *DB) within(tx *sql.Tx, p *pending) error {
	if _, err := tx.Stmt(db.savepoint).Exec(); err != nil {
		return fmt.Errorf("begin one of several changes: %w", err)
	}
	if p.err = p.f(tx); p.err != nil {
		if _, err := tx.Stmt(db.rollbackTo).Exec(); err != nil {
			return errors.Join(p.err, fmt.Errorf("take back one of several changes: %w", err))
		}
	}
	if _, err := tx.Stmt(db.release).Exec(); err != nil {
		return fmt.Errorf("end one of several changes: %w", err)
	}
	return nil
}
