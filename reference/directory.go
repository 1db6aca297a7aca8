package reference

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"
)

// Directory knows the users.
type Directory interface {
	// Authenticate returns nil for the right password and ErrCredentials for a
	// wrong one or an unknown user, in the same time and without saying which.
	// Any other error is a failure of the system.
	Authenticate(ctx context.Context, user, password string) error
}

// Accounts is a Directory whose passwords can be changed.
type Accounts interface {
	Directory
	// SetPassword gives a known user a new password; ErrCredentials for an unknown one.
	SetPassword(ctx context.Context, user, password string) error
}

var _ Accounts = (*Users)(nil)

// Users is a Directory in memory. The zero value has no users and is ready to
// use; it is safe for concurrent use. Passwords are kept as salted
// PBKDF2-HMAC-SHA-256.
type Users struct {
	// Iterations is the cost of one log-in, to be set before the first Add.
	// Zero means 600,000 (OWASP Password Storage, 2023), about a tenth of a
	// second; a test that logs in often takes 100.
	Iterations int

	mu     sync.RWMutex
	hashes map[string]passwordHash
}

type passwordHash struct {
	salt [16]byte
	sum  [32]byte
}

// Add adds a user, or gives a known one a new password.
func (u *Users) Add(user, password string) error {
	if user == "" {
		return errors.New("add user: the name is empty")
	}
	var h passwordHash
	_, _ = rand.Read(h.salt[:]) // crypto/rand.Read never fails
	sum, err := u.hash(password, h.salt)
	if err != nil {
		return fmt.Errorf("add user %q: %w", user, err)
	}
	h.sum = sum
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.hashes == nil {
		u.hashes = make(map[string]passwordHash)
	}
	u.hashes[user] = h
	return nil
}

// SetPassword implements Accounts.
func (u *Users) SetPassword(_ context.Context, user, password string) error {
	u.mu.RLock()
	_, known := u.hashes[user]
	u.mu.RUnlock()
	if !known {
		return fmt.Errorf("set password of %q: %w", user, ErrCredentials)
	}
	return u.Add(user, password)
}

// Authenticate implements Directory. An unknown user costs a hash too.
func (u *Users) Authenticate(_ context.Context, user, password string) error {
	u.mu.RLock()
	h, known := u.hashes[user]
	u.mu.RUnlock()
	sum, err := u.hash(password, h.salt)
	if err != nil {
		return fmt.Errorf("authenticate %q: %w", user, err)
	}
	if same := subtle.ConstantTimeCompare(sum[:], h.sum[:]) == 1; !same || !known {
		return ErrCredentials
	}
	return nil
}

func (u *Users) hash(password string, salt [16]byte) (sum [32]byte, err error) {
	n := u.Iterations
	if n <= 0 {
		n = 600_000
	}
	key, err := pbkdf2.Key(sha256.New, password, salt[:], n, len(sum))
	copy(sum[:], key)
	return sum, err
}
