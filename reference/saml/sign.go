package saml

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/ecdsa"
	_ "crypto/sha256" // the hash of every signature made or accepted here
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"strings"
	"sync"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// signed returns the message with an enveloped signature behind its issuer, as
// the schema has it. The key is not sent along: it is known from metadata.
func signed(e *etree.Element, k Key) (*etree.Element, error) {
	ctx, err := dsig.NewSigningContext(rawSigner{k.Signer}, nil)
	if err != nil {
		return nil, fmt.Errorf("sign message: %w", err)
	}
	ctx.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	s, err := ctx.ConstructSignature(e, true)
	if err != nil {
		return nil, fmt.Errorf("sign message: %w", err)
	}
	if info := s.SelectElement("KeyInfo"); info != nil {
		s.RemoveChild(info)
	}
	e.InsertChildAt(1, s)
	return e, nil
}

// rawSigner makes ECDSA signatures as XML-DSig and the redirect binding want
// them: r and s behind each other, not in ASN.1 (XML Signature 1.1, 6.4.3).
type rawSigner struct{ crypto.Signer }

func (r rawSigner) Sign(random io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	s, err := r.Signer.Sign(random, digest, o)
	key, ok := r.Public().(*ecdsa.PublicKey)
	if err != nil || !ok {
		return s, err
	}
	var pair struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(s, &pair); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	size := (key.Params().BitSize + 7) / 8
	return append(pair.R.FillBytes(make([]byte, size)), pair.S.FillBytes(make([]byte, size))...), nil
}

// unraw is the way back, for the verifiers of package x509.
func unraw(key crypto.PublicKey, s []byte) ([]byte, error) {
	k, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return s, nil
	}
	size := (k.Params().BitSize + 7) / 8
	if len(s) != 2*size {
		return nil, ErrSignature
	}
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(s[:size]), new(big.Int).SetBytes(s[size:])})
}

// methods are the signature algorithms accepted. SHA-1 is none of them.
var methods = map[string]x509.SignatureAlgorithm{
	dsig.RSASHA256SignatureMethod:   x509.SHA256WithRSA,
	dsig.RSASHA384SignatureMethod:   x509.SHA384WithRSA,
	dsig.RSASHA512SignatureMethod:   x509.SHA512WithRSA,
	dsig.ECDSASHA256SignatureMethod: x509.ECDSAWithSHA256,
	dsig.ECDSASHA384SignatureMethod: x509.ECDSAWithSHA384,
	dsig.ECDSASHA512SignatureMethod: x509.ECDSAWithSHA512,
}

func methodOf(k Key) string {
	if _, ok := k.Signer.Public().(*ecdsa.PublicKey); ok {
		return dsig.ECDSASHA256SignatureMethod
	}
	return dsig.RSASHA256SignatureMethod
}

// verified checks the enveloped signature of the root by the one certificate
// and returns the element that it covers, made anew from the very bytes that
// were digested: whatever else is in the document cannot be read by mistake
// (signature wrapping). There must be one signature, a child of the root, with
// one reference, to the root, and no transform but the two SAML allows (Core
// 5.4.2 to 5.4.4).
func verified(root *etree.Element, certificate *x509.Certificate) (*etree.Element, error) {
	signatures := root.FindElements(".//Signature")
	s := child(root, nsSignature, "Signature")
	if s == nil || len(signatures) != 1 {
		return nil, fmt.Errorf("%w: %d signatures, want one, of the whole message", ErrUnsigned, len(signatures))
	}
	info := child(s, nsSignature, "SignedInfo")
	ref := child(info, nsSignature, "Reference")
	id := root.SelectAttrValue("ID", "")
	if ref == nil || id == "" || ref.SelectAttrValue("URI", "") != "#"+id {
		return nil, fmt.Errorf("%w: the signature is not of the message", ErrUnsigned)
	}
	if transforms := child(ref, nsSignature, "Transforms"); transforms == nil || !plainTransforms(transforms) {
		return nil, fmt.Errorf("%w: transforms", ErrSignature)
	}
	if _, ok := methods[algorithm(info, "SignatureMethod")]; !ok {
		return nil, fmt.Errorf("%w: method", ErrSignature)
	}
	if digest := algorithm(ref, "DigestMethod"); strings.HasSuffix(digest, "#sha1") || digest == "" {
		return nil, fmt.Errorf("%w: digest", ErrSignature)
	}
	if algorithm(info, "CanonicalizationMethod") != string(dsig.CanonicalXML10ExclusiveAlgorithmId) {
		return nil, fmt.Errorf("%w: canonical form", ErrSignature)
	}
	value := child(s, nsSignature, "SignatureValue")
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text(value)), ""))
	if err != nil || value == nil {
		return nil, fmt.Errorf("%w: value", ErrSignature)
	}
	if raw, err = unraw(certificate.PublicKey, raw); err != nil {
		return nil, err
	}
	value.SetText(base64.StdEncoding.EncodeToString(raw))
	if key := child(s, nsSignature, "KeyInfo"); key != nil {
		s.RemoveChild(key) // the certificate is known; another would not do
	}
	ctx := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{certificate}})
	covered, err := ctx.Validate(root)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return covered, nil
}

func algorithm(of *etree.Element, tag string) string {
	e := child(of, nsSignature, tag)
	if e == nil {
		return ""
	}
	return e.SelectAttrValue("Algorithm", "")
}

func plainTransforms(e *etree.Element) bool {
	all := e.ChildElements()
	if len(all) == 0 || len(all) > 2 {
		return false
	}
	for _, t := range all {
		switch dsig.AlgorithmID(t.SelectAttrValue("Algorithm", "")) {
		case dsig.EnvelopedSignatureAltorithmId, dsig.CanonicalXML10ExclusiveAlgorithmId:
		default:
			return false
		}
	}
	return all[0].SelectAttrValue("Algorithm", "") == dsig.EnvelopedSignatureAltorithmId.String()
}

// signQuery makes the query of the redirect binding: the deflated message,
// relay state and algorithm, and the signature of exactly these octets
// (Bindings 3.4.4.1).
func signQuery(param string, message []byte, relay string, k Key) (string, error) {
	packed, err := deflate(message)
	if err != nil {
		return "", fmt.Errorf("sign query: %w", err)
	}
	q := param + "=" + url.QueryEscape(base64.StdEncoding.EncodeToString(packed))
	if relay != "" {
		q += "&RelayState=" + url.QueryEscape(relay)
	}
	q += "&SigAlg=" + url.QueryEscape(methodOf(k))
	digest := crypto.SHA256.New()
	digest.Write([]byte(q))
	s, err := rawSigner{k.Signer}.Sign(nil, digest.Sum(nil), crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("sign query: %w", err)
	}
	return q + "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(s)), nil
}

// deflaters are kept, since each has half a megabyte of tables.
var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, flate.DefaultCompression) // a level that exists
	return w
}}

func deflate(message []byte) ([]byte, error) {
	var packed bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&packed)
	if _, err := w.Write(message); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// query are the parameters of a redirect binding with the octets as they came,
// of which the signature speaks.
type query struct {
	param, message, relay string
	signed                string // the octets under the signature
	method                string
	signature             []byte
	isSigned              bool
}

// splitQuery reads a raw query. A parameter given twice is refused: the one
// that is verified must be the one that is used.
func splitQuery(raw string) (query, error) {
	parts := make(map[string]string)
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		switch name {
		case "SAMLRequest", "SAMLResponse", "RelayState", "SigAlg", "Signature":
			if _, twice := parts[name]; twice {
				return query{}, fmt.Errorf("%w: %s is given twice", ErrMessage, name)
			}
			parts[name] = value
		}
	}
	q := query{param: "SAMLRequest"}
	raws, isRequest := parts["SAMLRequest"]
	if response, isResponse := parts["SAMLResponse"]; isResponse == isRequest {
		return query{}, fmt.Errorf("%w: want one SAMLRequest or SAMLResponse", ErrMessage)
	} else if isResponse {
		q.param, raws = "SAMLResponse", response
	}
	q.signed = q.param + "=" + raws
	if relay, ok := parts["RelayState"]; ok {
		q.signed += "&RelayState=" + relay
	}
	q.signed += "&SigAlg=" + parts["SigAlg"]
	var sig string
	for _, f := range []struct {
		to  *string
		raw string
	}{{&q.message, raws}, {&q.relay, parts["RelayState"]}, {&q.method, parts["SigAlg"]}, {&sig, parts["Signature"]}} {
		value, err := url.QueryUnescape(f.raw)
		if err != nil {
			return query{}, fmt.Errorf("%w: query", ErrMessage)
		}
		*f.to = value
	}
	var err error
	if q.signature, err = base64.StdEncoding.DecodeString(sig); err != nil {
		return query{}, fmt.Errorf("%w: signature of the query", ErrMessage)
	}
	q.isSigned = sig != ""
	return q, nil
}

// inflate unpacks the redirect binding's message within bounds.
func inflate(encoded string) ([]byte, error) {
	packed, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(packed) > maxMessage {
		return nil, fmt.Errorf("%w: base64", ErrMessage)
	}
	r := flate.NewReader(bytes.NewReader(packed))
	message, err := io.ReadAll(io.LimitReader(r, maxMessage+1))
	if err != nil || len(message) > maxMessage {
		return nil, fmt.Errorf("%w: deflated", ErrMessage)
	}
	return message, nil
}

// verifyQuery checks the signature of a redirect binding's query.
func verifyQuery(q query, certificate *x509.Certificate) error {
	if !q.isSigned {
		return ErrUnsigned
	}
	method, ok := methods[q.method]
	if !ok {
		return fmt.Errorf("%w: method", ErrSignature)
	}
	s, err := unraw(certificate.PublicKey, q.signature)
	if err != nil {
		return err
	}
	if err := certificate.CheckSignature(method, []byte(q.signed), s); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return nil
}
