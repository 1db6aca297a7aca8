package reference_test

import (
	"errors"
	"testing"
	"time"

	"github.com/farmspec/farmspec/reference"
)

// confirmed is what ada brings to act for her account.
func confirmed(g reference.Grant) reference.Confirmed {
	return reference.Confirmed{Session: g.Session, Password: "secret of " + g.User}
}

func TestOwnSessions(t *testing.T) {
	b := newBench(t, reference.Options{})
	ada, bob := b.login("ada"), b.login("bob")
	b.pass(time.Second)
	phone := b.login("ada")
	ended := b.login("ada")
	if err := b.Logout(t.Context(), reference.Presented{Token: ended.Token}); err != nil {
		t.Fatal(err)
	}
	own, err := b.Own(t.Context(), phone.Session)
	if err != nil || len(own) != 2 || own[0].Ref != ada.Session || own[1].Ref != phone.Session {
		t.Fatalf("Own = %v, %v; want ada's two open sessions, oldest first", own, err)
	}
	if own[0].Current.ID != (reference.ID{}) {
		t.Error("the list has a session ID")
	}
	for _, tc := range []struct {
		name  string
		by    reference.Confirmed
		which reference.ID
		want  error
		why   string
	}{
		{"without the password", reference.Confirmed{Session: ada.Session}, phone.Session, reference.ErrCredentials, "ASVS 7.5.2: an open session is not enough"},
		{"with another user's password", reference.Confirmed{Session: ada.Session, Password: "secret of bob"}, phone.Session, reference.ErrCredentials, "whose session it is decides"},
		{"of somebody else", confirmed(ada), bob.Session, reference.ErrUnknown, "the reference is no credential"},
		{"that has ended", confirmed(ada), ended.Session, reference.ErrUnknown, "there is nothing to end"},
		{"from a session that has ended", confirmed(ended), phone.Session, reference.ErrClosed, "it is nobody's browser any more"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if n, err := b.EndOwn(t.Context(), tc.by, tc.which); n != 0 || !errors.Is(err, tc.want) {
				t.Errorf("EndOwn = %d, %v, want none and %v (%s)", n, err, tc.want, tc.why)
			}
		})
	}
	b.closedBy(phone.Session, "", "nothing has ended it")
	if n, err := b.EndOwn(t.Context(), confirmed(ada), phone.Session); n != 1 || err != nil {
		t.Errorf("EndOwn = %d, %v", n, err)
	}
	b.closedBy(phone.Session, reference.ByUser, "chosen")
	phone, tablet := b.login("ada"), b.login("ada")
	if n, err := b.EndOwn(t.Context(), confirmed(ada), reference.ID{}); n != 2 || err != nil {
		t.Errorf("EndOwn = %d, %v; want both others", n, err)
	}
	b.closedBy(phone.Session, reference.ByUser, "one of the others")
	b.closedBy(tablet.Session, reference.ByUser, "one of the others")
	b.good(ada.Token, "the session that asked")
	b.good(bob.Token, "another user's")
}

func TestChangePassword(t *testing.T) {
	b := newBench(t, reference.Options{})
	ada := b.login("ada")
	wrong := reference.Confirmed{Session: ada.Session, Password: "guessed"}
	if err := b.ChangePassword(t.Context(), wrong, "next", true); !errors.Is(err, reference.ErrCredentials) {
		t.Errorf("ChangePassword without the present one = %v, want ErrCredentials (ASVS 7.5.1)", err)
	}
	phone := b.login("ada")
	if err := b.ChangePassword(t.Context(), confirmed(ada), "next", false); err != nil {
		t.Fatal(err)
	}
	b.closedBy(phone.Session, "", "nobody asked to end it")
	if _, err := b.Login(t.Context(), reference.LoginRequest{User: "ada", Password: "secret of ada"}); !errors.Is(err, reference.ErrCredentials) {
		t.Errorf("Login with the password of before = %v, want ErrCredentials", err)
	}
	by := reference.Confirmed{Session: ada.Session, Password: "next"}
	if err := b.ChangePassword(t.Context(), by, "last", true); err != nil {
		t.Fatal(err)
	}
	b.closedBy(phone.Session, reference.ByUser, "ASVS 7.4.3")
	b.good(ada.Token, "the session that asked")
}

func TestConfirmProlongsNothing(t *testing.T) {
	b := newBench(t, reference.Options{Limits: reference.Limits{Idle: idle}})
	ada := b.login("ada")
	b.pass(idle)
	if err := b.Confirm(t.Context(), confirmed(ada)); err != nil {
		t.Errorf("Confirm = %v", err)
	}
	b.pass(milli)
	if err := b.Confirm(t.Context(), confirmed(ada)); !errors.Is(err, reference.ErrExpired) {
		t.Errorf("Confirm after the time-out = %v, want ErrExpired", err)
	}
	b.closedBy(ada.Session, reference.ByIdle, "found timed out")
}
