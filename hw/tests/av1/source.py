"""Writes frames of a made-up desktop as YUV4MPEG2: gen.py WIDTH HEIGHT FRAMES"""
import sys
width, height, frames = map(int, sys.argv[1:])
out = sys.stdout.buffer
out.write(b"YUV4MPEG2 W%d H%d F30:1 Ip A1:1 C420jpeg XYSCSS=420JPEG XCOLORRANGE=LIMITED\n" % (width, height))
for n in range(frames):
    out.write(b"FRAME\n")
    for plane, (w, h) in enumerate([(width, height)] + 2 * [(width // 2, height // 2)]):
        scale = width // w
        rows = bytearray()
        for y in range(h):
            for x in range(w):
                X, Y = x * scale, y * scale
                if abs(X - 20 * n - 60) < 50 and abs(Y - 120) < 40:
                    v = (200, 90, 160)[plane]
                elif plane == 0 and (X // 4 * 7919 + Y // 8 * 104729) % 11 < 3:
                    v = 40 + (X * 3 + n * 5) % 60
                else:
                    v = (16 + X * 200 // width, 128 + Y * 60 // height, 128 - X * 60 // width)[plane]
                rows.append(v)
        out.write(rows)
