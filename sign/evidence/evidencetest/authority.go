package evidencetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// Authority issues certificates, timestamps and log entries: sigstore-go's
// virtual deployment, with a certificate authority and a certificate log of its
// own so that certificates can be of any age and carry promises.
type Authority struct {
	*ca.VirtualSigstore
	issuer    *x509.Certificate
	issuerKey *ecdsa.PrivateKey
	root      *x509.Certificate
	ctKey     *ecdsa.PrivateKey
}

// NewAuthority makes an authority that trusts nobody else.
func NewAuthority() *Authority {
	virtual, err := ca.NewVirtualSigstore()
	check(err)
	a := &Authority{VirtualSigstore: virtual, ctKey: newECDSA()}
	var rootKey *ecdsa.PrivateKey
	a.root, rootKey, err = ca.GenerateRootCa()
	check(err)
	a.issuerKey = newECDSA()
	a.issuer = certify(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test intermediate"},
		NotBefore: time.Now().Add(-5 * time.Hour), NotAfter: time.Now().Add(5 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		BasicConstraintsValid: true, IsCA: true,
	}, a.root, a.issuerKey.Public(), rootKey)
	return a
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func newECDSA() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	return k
}

func certify(template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	check(err)
	c, err := x509.ParseCertificate(der)
	check(err)
	return c
}

// Root is the trusted root: certificate authority, timestamps, log, and the
// certificate log when withCT is set.
func (a *Authority) Root(withCT bool) *root.TrustedRoot {
	logs := a.RekorLogs()
	for id, l := range logs {
		raw, err := hex.DecodeString(id)
		check(err)
		l.ID = raw
	}
	ctLogs := map[string]*root.TransparencyLog{}
	if withCT {
		id := keyID(a.ctKey.Public())
		ctLogs[hex.EncodeToString(id)] = &root.TransparencyLog{BaseURL: "https://ct.localhost", ID: id,
			ValidityPeriodStart: time.Now().Add(-5 * time.Hour), HashFunc: crypto.SHA256, PublicKey: a.ctKey.Public(), SignatureHashFunc: crypto.SHA256}
	}
	authorities := append(a.FulcioCertificateAuthorities(), &root.FulcioCertificateAuthority{
		Root: a.root, Intermediates: []*x509.Certificate{a.issuer}, URI: "https://fulcio.localhost",
		ValidityPeriodStart: time.Now().Add(-5 * time.Hour),
	})
	r, err := root.NewTrustedRoot(root.TrustedRootMediaType01, authorities, ctLogs, a.TimestampingAuthorities(), logs)
	check(err)
	return r
}

// RootJSON is Root as a trusted_root.json.
func (a *Authority) RootJSON(withCT bool) []byte {
	raw, err := a.Root(withCT).MarshalJSON()
	check(err)
	return raw
}

func keyID(pub crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(pub)
	check(err)
	sum := sha256.Sum256(der)
	return sum[:]
}

// Options say how a certificate is made and what comes with a signature.
type Options struct {
	// Age is how long ago the ten minutes of the certificate began; the
	// signature is of one minute later.
	Age time.Duration
	// SCT puts a promise of the certificate log into the certificate; WrongSCT
	// one by a log that nobody knows, under the known log's name.
	SCT, WrongSCT bool
	// Log adds a log entry, Timestamp an RFC 3161 timestamp of now.
	Log, Timestamp bool
	// TSA, when set, makes the timestamp instead.
	TSA *Authority
}

// signer is a certificate with its key.
type signer struct {
	Key
	cert *x509.Certificate
	at   time.Time
}

// issue makes a certificate for an identity.
func (a *Authority) issue(subject, issuer string, o Options) signer {
	key := newECDSA()
	from := time.Now().Add(-o.Age).Truncate(time.Second)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), EmailAddresses: []string{subject},
		NotBefore: from, NotAfter: from.Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(issuer)}},
	}
	cert := certify(template, a.issuer, key.Public(), a.issuerKey)
	if o.SCT || o.WrongSCT {
		logKey := a.ctKey
		if o.WrongSCT {
			logKey = newECDSA()
		}
		template.ExtraExtensions = append(template.ExtraExtensions, a.promise(cert, logKey))
		cert = certify(template, a.issuer, key.Public(), a.issuerKey)
	}
	return signer{Key{key}, cert, from.Add(time.Minute)}
}

// promise is the extension with the certificate log's promise (RFC 6962, 3.3)
// for a certificate without it.
func (a *Authority) promise(cert *x509.Certificate, key *ecdsa.PrivateKey) pkix.Extension {
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, Timestamp: uint64(cert.NotBefore.UnixMilli())}
	copy(sct.LogID.KeyID[:], keyID(a.ctKey.Public()))
	entry := ct.LogEntry{Leaf: ct.MerkleTreeLeaf{Version: ct.V1, LeafType: ct.TimestampedEntryLeafType,
		TimestampedEntry: &ct.TimestampedEntry{Timestamp: sct.Timestamp, EntryType: ct.PrecertLogEntryType,
			PrecertEntry: &ct.PreCert{IssuerKeyHash: sha256.Sum256(a.issuer.RawSubjectPublicKeyInfo), TBSCertificate: cert.RawTBSCertificate}}}}
	input, err := ct.SerializeSCTSignatureInput(sct, entry)
	check(err)
	sig, err := tls.CreateSignature(*key, tls.SHA256, input)
	check(err)
	sct.Signature = ct.DigitallySigned(sig)
	raw, err := tls.Marshal(sct)
	check(err)
	list, err := tls.Marshal(ctx509.SignedCertificateTimestampList{SCTList: []ctx509.SerializedSCT{{Val: raw}}})
	check(err)
	value, err := asn1.Marshal(list)
	check(err)
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: value}
}

func (a *Authority) timestamp(sig []byte, o Options) []byte {
	if o.TSA != nil {
		a = o.TSA
	}
	raw, err := a.TimestampResponse(sig)
	check(err)
	return raw
}

// Legacy is a layer of a .sig manifest by an identity.
func (a *Authority) Legacy(subject, issuer string, payload []byte, o Options) Layer {
	s := a.issue(subject, issuer, o)
	sig := s.sign(payload)
	l := Layer{MediaSimpleSigning, payload, map[string]string{
		"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig),
		"dev.sigstore.cosign/certificate":    string(pemOf(s.cert)),
		"dev.sigstore.cosign/chain":          string(pemOf(a.issuer)) + string(pemOf(a.root)),
	}}
	if o.Log {
		l.Annotations["dev.sigstore.cosign/bundle"] = string(a.promiseOf(hashedRekord(payload, sig, pemOf(s.cert)), s.at))
	}
	if o.Timestamp {
		l.Annotations["dev.sigstore.cosign/rfc3161timestamp"] = string(mustJSON(map[string][]byte{"SignedRFC3161Timestamp": a.timestamp(sig, o)}))
	}
	return l
}

// Logged is a layer of a .sig manifest by a key, with a log entry of now.
func (a *Authority) Logged(k *Key, payload []byte) Layer {
	l := k.Legacy(payload)
	sig, err := base64.StdEncoding.DecodeString(l.Annotations["dev.cosignproject.cosign/signature"])
	check(err)
	l.Annotations["dev.sigstore.cosign/bundle"] = string(a.promiseOf(hashedRekord(payload, sig, k.PEM()), time.Now()))
	return l
}

// LegacyAttestation is a layer of an .att manifest by an identity. As with cosign
// the timestamp is over the whole envelope.
func (a *Authority) LegacyAttestation(subject, issuer string, statement []byte, o Options) Layer {
	s := a.issue(subject, issuer, o)
	sig := s.sign(dsse.PAE(PayloadType, statement))
	l := Layer{MediaDSSE, envelopeJSON(statement, sig), map[string]string{
		"dev.cosignproject.cosign/signature": "",
		"dev.sigstore.cosign/certificate":    string(pemOf(s.cert)),
		"dev.sigstore.cosign/chain":          string(pemOf(a.issuer)),
	}}
	if o.Log {
		l.Annotations["dev.sigstore.cosign/bundle"] = string(a.promiseOf(a.entry(s, statement, sig).CanonicalizedBody, s.at))
	}
	if o.Timestamp {
		l.Annotations["dev.sigstore.cosign/rfc3161timestamp"] = string(mustJSON(map[string][]byte{"SignedRFC3161Timestamp": a.timestamp(l.Content, o)}))
	}
	return l
}

// RootWithoutIntermediate is Root with the root certificate alone, so that the
// intermediate has to come with the signature.
func (a *Authority) RootWithoutIntermediate() *root.TrustedRoot {
	r, err := root.NewTrustedRoot(root.TrustedRootMediaType01, []root.CertificateAuthority{&root.FulcioCertificateAuthority{
		Root: a.root, URI: "https://fulcio.localhost", ValidityPeriodStart: time.Now().Add(-5 * time.Hour),
	}}, nil, a.TimestampingAuthorities(), a.RekorLogs())
	check(err)
	return r
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// hashedRekord is a log entry's body for a signature over payload; verifier is
// the key or the certificate in PEM.
func hashedRekord(payload, sig, verifier []byte) []byte {
	sum := sha256.Sum256(payload)
	return mustJSON(map[string]any{"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": map[string]any{
		"data":      map[string]any{"hash": map[string]any{"algorithm": "sha256", "value": hex.EncodeToString(sum[:])}},
		"signature": map[string]any{"content": sig, "publicKey": map[string]any{"content": verifier}},
	}})
}

// promiseOf is cosign's bundle annotation: the log's promise about a body.
func (a *Authority) promiseOf(body []byte, at time.Time) []byte {
	payload, set := a.logged(body, at)
	return mustJSON(map[string]any{"SignedEntryTimestamp": set, "Payload": payload})
}

func (a *Authority) logged(body []byte, at time.Time) (tlog.RekorPayload, []byte) {
	id, err := a.RekorLogID()
	check(err)
	p := tlog.RekorPayload{Body: base64.StdEncoding.EncodeToString(body), IntegratedTime: at.Unix(), LogIndex: 1000, LogID: id}
	set, err := a.RekorSignPayload(p)
	check(err)
	return p, set
}

// Bundle is a bundle v0.3 over a statement by an identity. Its log entry has a
// promise and a proof, as Rekor v1 gives them.
func (a *Authority) Bundle(subject, issuer string, statement []byte, o Options) []byte {
	s := a.issue(subject, issuer, o)
	sig := s.sign(dsse.PAE(PayloadType, statement))
	b := &protobundle.Bundle{MediaType: MediaBundle, Content: envelope(PayloadType, statement, sig),
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content: &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: s.cert.Raw}},
		}}
	if o.Log {
		b.VerificationMaterial.TlogEntries = []*protorekor.TransparencyLogEntry{a.entry(s, statement, sig)}
	}
	if o.Timestamp {
		b.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: a.timestamp(sig, o)}}}
	}
	return marshal(b)
}

func (a *Authority) entry(s signer, statement, sig []byte) *protorekor.TransparencyLogEntry {
	env := &dsse.Envelope{}
	check(json.Unmarshal(envelopeJSON(statement, sig), env))
	made, err := a.GenerateTlogEntry(s.cert, env, sig, s.at.Unix(), true)
	check(err)
	e := made.TransparencyLogEntry()
	id, err := a.RekorLogID()
	check(err)
	set, err := a.RekorSignPayload(tlog.RekorPayload{Body: base64.StdEncoding.EncodeToString(e.CanonicalizedBody),
		IntegratedTime: e.IntegratedTime, LogIndex: e.LogIndex, LogID: id})
	check(err)
	e.KindVersion = &protorekor.KindVersion{Kind: "dsse", Version: "0.0.1"}
	e.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: set}
	return e
}

// BundleV2 is a bundle as a signer with Rekor v2 makes it: an inclusion proof
// and a timestamp. Its certificate has no promise of a
// certificate log.
func (a *Authority) BundleV2(subject, issuer string, statement []byte) []byte {
	e, err := a.AttestHashedRekordV2(subject, issuer, statement)
	check(err)
	vc, err := e.VerificationContent()
	check(err)
	sc, err := e.SignatureContent()
	check(err)
	entries, err := e.TlogEntries()
	check(err)
	stamps, err := e.Timestamps()
	check(err)
	return marshal(&protobundle.Bundle{MediaType: MediaBundle, Content: envelope(PayloadType, statement, signatureOf(sc)),
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content:     &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: vc.Certificate().Raw}},
			TlogEntries: []*protorekor.TransparencyLogEntry{entries[0].TransparencyLogEntry()},
			TimestampVerificationData: &protobundle.TimestampVerificationData{
				Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamps[0]}}},
		}})
}

func signatureOf(sc verify.SignatureContent) []byte { return sc.Signature() }
