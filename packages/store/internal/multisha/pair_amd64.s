#include "textflag.h"

// Four rounds for one stream: M0 holds the schedule words of these rounds, M1
// those of the next four, M3 those of the four before. X0 is the operand that
// SHA256RNDS2 takes its words and constants from.
#define ROUNDS(K, M0, S0, S1) \
	MOVOU       (K*16)(AX), X0 \
	PADDD       M0, X0 \
	SHA256RNDS2 X0, S0, S1 \
	PSHUFD      $0x0e, X0, X0 \
	SHA256RNDS2 X0, S1, S0

// Schedule words that come 13 to 16 rounds later: the first part, of 12 of the
// 16 groups of rounds.
#define BEGIN(M0, M3) SHA256MSG1 M0, M3

// Schedule words of the next group of rounds: the last part.
#define FINISH(M0, M1, M3, T) \
	MOVO       M0, T \
	PALIGNR    $4, M3, T \
	PADDD      T, M1 \
	SHA256MSG2 M0, M1

#define LOAD(P, K, M) \
	MOVOU  (K*16)(P), M \
	PSHUFB X15, M

#define BOTH_FINISH_BEGIN(K, A0, A1, A3, B0, B1, B3) \
	ROUNDS(K, A0, X1, X2) \
	FINISH(A0, A1, A3, X13) \
	BEGIN(A0, A3) \
	ROUNDS(K, B0, X7, X8) \
	FINISH(B0, B1, B3, X14) \
	BEGIN(B0, B3)

#define BOTH_FINISH(K, A0, A1, A3, B0, B1, B3) \
	ROUNDS(K, A0, X1, X2) \
	FINISH(A0, A1, A3, X13) \
	ROUNDS(K, B0, X7, X8) \
	FINISH(B0, B1, B3, X14)

#define BOTH_LOAD_BEGIN(K, A0, A3, B0, B3) \
	LOAD(SI, K, A0) \
	ROUNDS(K, A0, X1, X2) \
	BEGIN(A0, A3) \
	LOAD(DI, K, B0) \
	ROUNDS(K, B0, X7, X8) \
	BEGIN(B0, B3)

// func blocks2(a, b *state, pa, pb *byte, n int)
//
// One stream's rounds wait for each other; two streams' do not, so that the
// second one costs next to nothing.
TEXT ·blocks2(SB), NOSPLIT, $0-40
	MOVQ  a+0(FP), R8
	MOVQ  b+8(FP), R9
	MOVQ  pa+16(FP), SI
	MOVQ  pb+24(FP), DI
	MOVQ  n+32(FP), CX
	LEAQ  ·constants(SB), AX
	MOVOU ·bigEndian(SB), X15
	MOVOU 0(R8), X1
	MOVOU 16(R8), X2
	MOVOU 0(R9), X7
	MOVOU 16(R9), X8

loop:
	// Words 0 to 15 come from the input. Letters of the schedule:
	// X3..X6 are the first stream's, X9..X12 the second's.
	LOAD(SI, 0, X3)
	ROUNDS(0, X3, X1, X2)
	LOAD(DI, 0, X9)
	ROUNDS(0, X9, X7, X8)
	BOTH_LOAD_BEGIN(1, X4, X3, X10, X9)
	BOTH_LOAD_BEGIN(2, X5, X4, X11, X10)
	LOAD(SI, 3, X6)
	LOAD(DI, 3, X12)
	BOTH_FINISH_BEGIN(3, X6, X3, X5, X12, X9, X11)
	BOTH_FINISH_BEGIN(4, X3, X4, X6, X9, X10, X12)
	BOTH_FINISH_BEGIN(5, X4, X5, X3, X10, X11, X9)
	BOTH_FINISH_BEGIN(6, X5, X6, X4, X11, X12, X10)
	BOTH_FINISH_BEGIN(7, X6, X3, X5, X12, X9, X11)
	BOTH_FINISH_BEGIN(8, X3, X4, X6, X9, X10, X12)
	BOTH_FINISH_BEGIN(9, X4, X5, X3, X10, X11, X9)
	BOTH_FINISH_BEGIN(10, X5, X6, X4, X11, X12, X10)
	BOTH_FINISH_BEGIN(11, X6, X3, X5, X12, X9, X11)
	BOTH_FINISH_BEGIN(12, X3, X4, X6, X9, X10, X12)
	BOTH_FINISH(13, X4, X5, X3, X10, X11, X9)
	BOTH_FINISH(14, X5, X6, X4, X11, X12, X10)
	ROUNDS(15, X6, X1, X2)
	ROUNDS(15, X12, X7, X8)

	MOVOU 0(R8), X13
	PADDD X13, X1
	MOVOU X1, 0(R8)
	MOVOU 16(R8), X13
	PADDD X13, X2
	MOVOU X2, 16(R8)
	MOVOU 0(R9), X14
	PADDD X14, X7
	MOVOU X7, 0(R9)
	MOVOU 16(R9), X14
	PADDD X14, X8
	MOVOU X8, 16(R9)

	ADDQ $64, SI
	ADDQ $64, DI
	DECQ CX
	JNZ  loop
	RET
