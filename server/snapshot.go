package server

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "multirate/proto/multirate/v1"
	"multirate/scheduler"
)

// A snapshot is
//
//	magic     4 bytes  "MRRS"
//	version   uint32   1
//	checksum  uint32   CRC-32C of version and body
//	body
//
// and the body of version 1
//
//	created      int64    nanoseconds since 1970, UTC
//	flags        byte     snapshotHas...
//	fingerprint  uint64   of the latest step's report
//	batch        uint64   the latest step's, if any
//	spectrumStep int64    -1: before the first step
//	revision     int64
//	run          section  Run without output-only fields
//	controller   section  scheduler.Controller.MarshalBinary
//	answer       section  GetLearningRateResponse of the latest step, if any
//	advised      section  the latest one given out, if any and another
//
// with numbers little-endian and a section being a uint32 length and so many
// bytes. The first three fields are the same in all versions, so that damage
// can be told from age.
const (
	snapshotMagic   = "MRRS"
	snapshotVersion = 1
	snapshotHeader  = 12
	// maxSnapshotBytes is the contract's.
	maxSnapshotBytes = 16 << 20
)

const (
	snapshotHasBatch byte = 1 << iota
	snapshotHasAnswer
	snapshotHasAdvised // and it is another than answer
	snapshotHandedOut  // advised is answer
	snapshotFlags      = iota
)

var (
	errDamaged = errors.New("snapshot is damaged")
	errVersion = errors.New("snapshot is of another version")
)

// encode writes the state out. The same state gives the same bytes. The caller
// holds the run's lock.
func (s *state) encode() ([]byte, error) {
	// Whether the controller has prepared its next step changes its bytes, and
	// nothing else. It always has, so that bytes do not hang on timing.
	s.controller.Prepare()
	controller, err := s.controller.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("controller: %w", err)
	}
	b := make([]byte, snapshotHeader, snapshotHeader+1024+len(controller))
	copy(b, snapshotMagic)
	binary.LittleEndian.PutUint32(b[4:], snapshotVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.created.UnixNano()))
	b = append(b, s.flags())
	b = binary.LittleEndian.AppendUint64(b, s.fingerprint)
	b = binary.LittleEndian.AppendUint64(b, s.batch)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.spectrumStep))
	b = binary.LittleEndian.AppendUint64(b, uint64(s.revision))
	b, err = appendMessage(b, s.decl.run)
	b = appendSection(b, controller)
	if s.answer != nil && err == nil {
		b, err = appendMessage(b, s.answer)
	}
	if s.advised != nil && s.advised != s.answer && err == nil {
		b, err = appendMessage(b, s.advised)
	}
	if err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint32(b[8:], snapshotChecksum(b))
	return b, nil
}

func (s *state) flags() (f byte) {
	set := func(bit byte, on bool) {
		if on {
			f |= bit
		}
	}
	set(snapshotHasBatch, s.hasBatch)
	set(snapshotHasAnswer, s.answer != nil)
	set(snapshotHasAdvised, s.advised != nil && s.advised != s.answer)
	set(snapshotHandedOut, s.answer != nil && s.advised == s.answer)
	return f
}

func snapshotChecksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[4:8], castagnoli), castagnoli, b[snapshotHeader:])
}

func appendSection(b, section []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(section)))
	return append(b, section...)
}

func appendMessage(b []byte, m proto.Message) ([]byte, error) {
	at := len(b)
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(append(b, 0, 0, 0, 0), m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b, nil
}

// decodeState reads what encode wrote. Any other input is errDamaged or
// errVersion.
func decodeState(b []byte) (state, error) {
	if len(b) < snapshotHeader || !bytes.HasPrefix(b, []byte(snapshotMagic)) {
		return state{}, fmt.Errorf("%w: %d bytes do not begin like one", errDamaged, len(b))
	}
	if sum, want := snapshotChecksum(b), binary.LittleEndian.Uint32(b[8:]); sum != want {
		return state{}, fmt.Errorf("%w: checksum %#08x, must be %#08x", errDamaged, sum, want)
	}
	// From here on the bytes are as some server wrote them.
	if v := binary.LittleEndian.Uint32(b[4:]); v != snapshotVersion {
		return state{}, fmt.Errorf("%w: %d, this server reads %d", errVersion, v, snapshotVersion)
	}
	s, err := decodeBody(b[snapshotHeader:])
	if err != nil {
		return state{}, fmt.Errorf("%w: %w", errVersion, err)
	}
	return s, nil
}

func decodeBody(b []byte) (state, error) {
	d := bodyReader{rest: b}
	s := state{created: unixNano(int64(d.uint64()))}
	flags := d.byte()
	s.fingerprint, s.batch = d.uint64(), d.uint64()
	s.spectrumStep, s.revision = int64(d.uint64()), int64(d.uint64())
	declared := &pb.Run{}
	d.message(declared)
	controller := d.section()
	if flags&snapshotHasAnswer != 0 {
		s.answer = &pb.GetLearningRateResponse{}
		d.message(s.answer)
	}
	switch {
	case flags&snapshotHasAdvised != 0:
		s.advised = &pb.GetLearningRateResponse{}
		d.message(s.advised)
	case flags&snapshotHandedOut != 0:
		s.advised = s.answer
	}
	s.hasBatch = flags&snapshotHasBatch != 0
	if d.err != nil || len(d.rest) != 0 || flags>>snapshotFlags != 0 {
		return state{}, fmt.Errorf("body: %d bytes left over: %w", len(d.rest), errors.Join(d.err, errDamaged))
	}
	var err error
	if s.decl, err = declare(declared); err != nil {
		return state{}, err
	}
	if s.controller, err = scheduler.UnmarshalController(controller); err != nil {
		return state{}, err
	}
	return s, s.check(flags)
}

// check demands that the parts agree with each other.
func (s *state) check(flags byte) error {
	if s.controller.Config() != s.decl.config {
		return errors.New("controller and declaration disagree")
	}
	if s.spectrumStep < -1 || s.revision < 0 || s.spectrumStep > s.latestStep() {
		return fmt.Errorf("spectrum %d of step %d", s.revision, s.spectrumStep)
	}
	if s.answer == nil && (s.hasBatch || s.advised != nil || flags&snapshotHandedOut != 0) {
		return errors.New("advice without a step")
	}
	for _, a := range []*pb.GetLearningRateResponse{s.answer, s.advised} {
		if a == nil {
			continue
		}
		if a.Step < 0 || a.Step > s.answer.Step || len(a.Rates) != len(s.decl.groups) {
			return fmt.Errorf("answer of step %d with %d rates", a.Step, len(a.Rates))
		}
		for _, u := range a.Upcoming {
			if len(u.GetLearningRates()) != len(s.decl.groups) {
				return fmt.Errorf("answer with upcoming advice of %d rates", len(u.GetLearningRates()))
			}
		}
	}
	return nil
}

// bodyReader reads fields until the first error; what it returns behind that is
// zero.
type bodyReader struct {
	rest []byte
	err  error
}

func (d *bodyReader) take(n int) []byte {
	if d.err != nil || n > len(d.rest) {
		if d.err == nil {
			d.err = fmt.Errorf("%d bytes wanted of %d", n, len(d.rest))
		}
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *bodyReader) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *bodyReader) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *bodyReader) section() []byte {
	b := d.take(4)
	if b == nil {
		return nil
	}
	return d.take(int(binary.LittleEndian.Uint32(b)))
}

func (d *bodyReader) message(m proto.Message) {
	if b := d.section(); d.err == nil {
		d.err = proto.Unmarshal(b, m)
	}
}

// snapshotError translates an error of decodeState.
func snapshotError(err error) error {
	if errors.Is(err, errVersion) {
		return refuse(codes.FailedPrecondition, ReasonSnapshotVersion, err.Error()+
			": restore it on a server of the version that made it, or create the run anew and let it warm up")
	}
	return refuse(codes.DataLoss, ReasonSnapshotDamaged, err.Error()+
		": take it from another copy or an older checkpoint, or create the run anew and let it warm up")
}
