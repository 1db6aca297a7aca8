package farmspec

import (
	"context"
	"errors"
	"time"
)

// ErrPartial is what an [AdminHook] returns where all that was chosen has ended
// at the farm, and the farm says that not every other system has confirmed it.
var ErrPartial = errors.New("ended at the farm, and not confirmed everywhere")

// FarmParty is the farm's own name among the parties of a [Circle].
const FarmParty = "farm"

// FederationHook is the circle of single sign-on that the farm takes part in:
// an identity provider and other systems, real or played for the farm. People
// sign in and out by browser; the hook makes messages, which only a key's
// holder can, and does not deliver them.
type FederationHook interface {
	// Circle describes it. It does not change.
	Circle() Circle
	// SessionIndexes are those by which the provider has made the user's
	// sessions known to the party, oldest first.
	SessionIndexes(ctx context.Context, party, user string) ([]string, error)
	// Compose makes a request to log out, or one with a flaw. ErrNoHook: of
	// this kind it cannot.
	Compose(ctx context.Context, r LogoutRequest) (Delivery, error)
	// LogoutMessages are the log-out messages about the user that were sent
	// between the parties, oldest first.
	LogoutMessages(ctx context.Context, user string) ([]LogoutMessage, error)
}

// Circle describes a [FederationHook].
type Circle struct {
	Provider     Site
	Participants []Site
	// SignOn is the path, at every member of the farm, of a form that leads to
	// the provider; its parameter next is the page to come back to.
	SignOn string
	// Login names the fields of the provider's log-in form.
	Login LoginRecipe
	// Everywhere and Partial are what the farm, and the sites, show at the end of
	// a log-out that all have confirmed, and of one that not all have.
	Everywhere, Partial string
	// Lifetime is how long the provider's session lasts. The participants'
	// sessions, the farm's among them, end with it at the latest.
	Lifetime time.Duration
	// Silent says that, while the provider's session lasts, whoever comes back
	// from a participant is signed in there without a password.
	Silent bool
}

// Site is a party other than the farm. Page is protected: a browser without a
// session there is led to the provider, or at the provider to a log-in form.
type Site struct {
	// Name is also that of its process.
	Name string
	// URL is the base address.
	URL    string
	Page   Page
	Logout LogoutRecipe
}

// Channel names how a log-out message travels.
type Channel string

// The channels: two by way of the browser, and two from server to server.
const (
	RedirectChannel Channel = "redirect" // SAML, HTTP redirect
	PostChannel     Channel = "post"     // SAML, HTTP POST
	SOAPChannel     Channel = "soap"     // SAML, SOAP
	OpenIDChannel   Channel = "openid"   // OpenID Connect Back-Channel Logout
)

// Flaw names what is wrong with a message on purpose. The empty one is none.
type Flaw string

// The flaws of any message.
const (
	Unsigned      Flaw = "unsigned"
	ForeignKey    Flaw = "foreign key"    // signed by a key of nobody's
	OtherParty    Flaw = "other party"    // signed by a party, not the one it says it is from
	Changed       Flaw = "changed"        // another subject put in after it was signed
	UnknownIssuer Flaw = "unknown issuer" // from somebody who is not in the circle
	Misdirected   Flaw = "misdirected"    // made for another party
	Expired       Flaw = "expired"        // over its own limit
	Stale         Flaw = "stale"          // issued long ago
)

// The flaws of SAML's messages, and those of log-out tokens.
const (
	Wrapped Flaw = "wrapped"  // a true message about somebody else, with a forged one around it
	DocType Flaw = "doc type" // with a document type declared

	Untyped     Flaw = "untyped" // without the type of a log-out token
	Eventless   Flaw = "without event"
	WithNonce   Flaw = "with nonce"
	Subjectless Flaw = "subjectless" // with neither subject nor session
)

// LogoutRequest says what [FederationHook.Compose] makes.
type LogoutRequest struct {
	// From and To are parties: the provider and a participant, the farm
	// included, in either direction.
	From, To string
	Channel  Channel
	// User is the subject; "" leaves it out, where the channel can.
	User string
	// Indexes are the sessions to end; none means all of the subject's.
	Indexes []string
	Flaw    Flaw
	// Bait is, for Wrapped and Changed, the subject of the true message.
	Bait string
}

// Delivery is a message ready to be sent, by a browser over RedirectChannel
// and PostChannel and by anybody over the others.
type Delivery struct{ Method, URL, ContentType, Body string }

// LogoutMessage is a request to log out, or the answer to one, that was sent.
type LogoutMessage struct {
	// At is by the farm's time.
	At       time.Time
	From, To string
	Channel  Channel
	// Answer tells an answer from a request.
	Answer bool
	// Admin says that an administrator began it; of requests only.
	Admin bool
	// Status is an answer's last word, such as Success or PartialLogout.
	Status string
	// Delivered is false where it did not arrive, or was not accepted.
	Delivered bool
}
