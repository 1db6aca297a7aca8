package reference_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/memstore"
)

// A session from log-in to log-out: each token is good for one request.
func ExampleService() {
	users := &reference.Users{Iterations: 1} // an example need not be slow
	if err := users.Add("ada", "correct horse"); err != nil {
		log.Fatal(err)
	}
	svc, err := reference.NewService(reference.Options{Store: memstore.Open(), Users: users})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	login, err := svc.Login(ctx, reference.LoginRequest{User: "ada", Password: "correct horse"})
	if err != nil {
		log.Fatal(err)
	}
	next, err := svc.Renew(ctx, reference.Presented{Token: login.Token})
	fmt.Println("first token:", err)
	_, err = svc.Renew(ctx, reference.Presented{Token: login.Token})
	fmt.Println("again:", errors.Is(err, reference.ErrSpent))
	fmt.Println("log out:", svc.Logout(ctx, reference.Presented{Token: next.Token}))
	_, err = svc.Renew(ctx, reference.Presented{Token: next.Token})
	fmt.Println("afterwards:", errors.Is(err, reference.ErrClosed))
	// Output:
	// first token: <nil>
	// again: true
	// log out: <nil>
	// afterwards: true
}

// What a browser carries, and what one server hands to another.
func ExampleCodec() {
	key, err := reference.NewKey(1, rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	codec := reference.NewCodec(reference.NewKeyRing(key), rand.Reader)
	token := reference.Token{ID: reference.ID{1}, Timestamp: 1_800_000_000_000}

	cookie, _ := codec.Seal(token)
	opened, err := codec.Open(cookie)
	fmt.Println(len(cookie), opened == token, err)

	handoff, _ := codec.SealHandoff("server-2", token, 1_800_000_000_500)
	_, at, err := codec.OpenHandoff("server-2", handoff)
	fmt.Println(len(handoff), at, err)
	_, _, err = codec.OpenHandoff("server-3", handoff)
	fmt.Println(err)
	// Output:
	// 72 true <nil>
	// 80 1800000000500 <nil>
	// sealed token does not open
}
