// Package saml is SAML 2.0 Single Log-Out: both sides of the profile, the
// identity provider, which knows who takes part and tells everybody, and the
// participant, a system that is told and may begin. AS Java names it in the
// note to step 6 of its workflow; the rules are those of SAML 2.0 Core
// (saml-core-2.0-os) 3.7, Profiles 4.4 and Bindings 3.2, 3.4 and 3.5.
//
// Of single sign-on there is what a log-out needs to have something to end:
// a signed request, and a signed response with one assertion (Profiles 4.1).
//
// What is received is read in one place, [Open]: within bounds, without a
// document type, and only from the element that the signature covers. What is
// sent is signed, always.
package saml

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"
)

// Binding names how a message travels.
type Binding string

// The bindings (SAML 2.0 Bindings 3.2, 3.4 and 3.5).
const (
	Redirect Binding = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
	Post     Binding = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
	SOAP     Binding = "urn:oasis:names:tc:SAML:2.0:bindings:SOAP"
)

// Reason says why a log-out was begun (Core 3.7.3.1).
type Reason string

// The reasons.
const (
	ByUser  Reason = "urn:oasis:names:tc:SAML:2.0:logout:user"
	ByAdmin Reason = "urn:oasis:names:tc:SAML:2.0:logout:admin"
)

// Status is the code of a response, the second-level one where there is one
// that matters (Core 3.2.2.2).
type Status string

// The status codes used here.
const (
	Success       Status = "urn:oasis:names:tc:SAML:2.0:status:Success"
	Requester     Status = "urn:oasis:names:tc:SAML:2.0:status:Requester"
	Responder     Status = "urn:oasis:names:tc:SAML:2.0:status:Responder"
	PartialLogout Status = "urn:oasis:names:tc:SAML:2.0:status:PartialLogout"
)

// What is wrong with a message. The sender learns less: a failed log-out is
// answered with Requester and no reason.
var (
	// ErrMessage: it is not the XML, or not the message, that was expected.
	ErrMessage = errors.New("message is malformed")
	// ErrIssuer: it is from nobody who is known here.
	ErrIssuer = errors.New("issuer is not known")
	// ErrUnsigned: it is not signed, or the signature covers something else.
	ErrUnsigned = errors.New("message is not signed")
	// ErrSignature: the signature does not fit the issuer's key.
	ErrSignature = errors.New("signature is not the issuer's")
	// ErrDestination: it was made for another address.
	ErrDestination = errors.New("message is for another address")
	// ErrTime: it is too old, over its limit, or from the future.
	ErrTime = errors.New("message is out of time")
	// ErrReplayed: a message of this ID has been here.
	ErrReplayed = errors.New("message was received before")
	// ErrUnasked: a response to nothing that was asked.
	ErrUnasked = errors.New("response to nothing that was asked")
	// ErrLoggedOut: the assertion belongs to a session whose log-out arrived first.
	ErrLoggedOut = errors.New("the session of the assertion has been logged out")
	// ErrPartial: this side is logged out, and not everybody has confirmed it.
	ErrPartial = errors.New("not every participant has confirmed the log-out")
	// ErrUnknownSession: no session here fits the request.
	ErrUnknownSession = errors.New("no such session")
)

// skew is how far two parties' clocks may differ, and maxAge how long a
// message is good that names no end itself.
const (
	skew   = 30 * time.Second
	maxAge = 5 * time.Minute
	// requestLife is the NotOnOrAfter of a log-out request, from its issue.
	requestLife = 5 * time.Minute
	// signInLife is how long a person may take to sign in at the provider.
	signInLife = 15 * time.Minute
)

// Key is what a party signs with, and the certificate that shows it.
type Key struct {
	Signer      crypto.Signer
	Certificate *x509.Certificate
}

// NewKey draws an ECDSA P-256 key and certifies it to itself for ten years:
// in SAML the metadata, not an authority, vouches for a certificate.
func NewKey(name string) (Key, error) {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("make key of %s: %w", name, err)
	}
	return CertifyKey(name, signer)
}

// CertifyKey makes a self-signed certificate for an ECDSA or RSA key.
func CertifyKey(name string, signer crypto.Signer) (Key, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return Key{}, fmt.Errorf("certify key of %s: %w", name, err)
	}
	certificate, err := x509.ParseCertificate(der)
	return Key{signer, certificate}, err
}

// Peer is another party as its metadata describe it.
type Peer struct {
	// Entity is its entity ID, the issuer of what it sends.
	Entity string
	// Certificate verifies its signatures; no other does, whatever a message
	// brings along.
	Certificate *x509.Certificate
	// SignOn are the addresses of single sign-on: a provider's, for requests by
	// redirect, or those at which a participant takes responses by POST.
	SignOn []string
	// Logout are the addresses of single log-out, by binding.
	Logout map[Binding]string
}

// newID draws an ID of 128 bits; XML wants a letter or underscore in front.
func newID(from io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(from, b[:]); err != nil {
		return "", fmt.Errorf("draw message ID: %w", err)
	}
	return "_" + hex.EncodeToString(b[:]), nil
}
