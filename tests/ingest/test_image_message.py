import cv2
import numpy as np
import pytest

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.ingest.image_message import (
    ENCODINGS,
    decode_compressed,
    decode_image,
    decode_labels,
)

RGB = (200, 60, 20)


def flat(colour, height=6, width=8):
    return np.full((height, width, len(colour)), colour, np.uint8)


def padded(pixels, padding=5):
    """Rows with ``padding`` bytes of rubbish at their ends, and the step."""
    rows = pixels.reshape(len(pixels), -1)
    rubbish = np.full((len(rows), padding), 123, np.uint8)
    return np.hstack([rows, rubbish]).tobytes(), rows.shape[1] + padding


@pytest.mark.parametrize(
    ("encoding", "pixel"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[::-1]),
        ("8UC3", RGB[::-1]),
        ("rgba8", (*RGB, 9)),
        ("bgra8", (*RGB[::-1], 9)),
        ("8UC4", (*RGB[::-1], 9)),
    ],
)
def test_colour_images_with_padded_rows_become_rgb(encoding, pixel):
    data, step = padded(flat(pixel))
    image = decode_image(encoding, 6, 8, step, data)
    assert image.shape == (6, 8, 3)
    assert np.all(image == RGB)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_images_become_grey_rgb(encoding):
    data, step = padded(np.arange(48, dtype=np.uint8).reshape(6, 8))
    image = decode_image(encoding, 6, 8, step, data)
    assert np.array_equal(image, np.repeat(np.arange(48).reshape(6, 8, 1), 3, axis=2))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("encoding", "pixel"),
    [("rgb16", RGB), ("bgr16", RGB[::-1]), ("rgba16", (*RGB, 9)), ("bgra16", (*RGB[::-1], 9))],
)
def test_colours_of_16_bits_keep_their_high_byte(encoding, pixel, big):
    wide = (flat(pixel).astype(np.uint16) * 256 + 77).astype(">u2" if big else "<u2")
    data, step = padded(wide.reshape(6, -1).view(np.uint8))
    image = decode_image(encoding, 6, 8, step, data, is_bigendian=big)
    assert image.shape == (6, 8, 3)
    assert np.all(image == RGB)


@pytest.mark.parametrize("big", [False, True])
def test_mono16_keeps_its_high_byte(big):
    values = (np.arange(48).reshape(6, 8) * 256 + 77).astype(">u2" if big else "<u2")
    image = decode_image("mono16", 6, 8, 16, values.tobytes(), is_bigendian=big)
    assert np.array_equal(image[:, :, 1], np.arange(48).reshape(6, 8))


@pytest.mark.parametrize(
    ("encoding", "first_luma"), [("yuv422", 1), ("uyvy", 1), ("yuv422_yuy2", 0), ("yuyv", 0)]
)
def test_yuv422_becomes_rgb(encoding, first_luma):
    red, green, blue = RGB
    luma = 0.257 * red + 0.504 * green + 0.098 * blue + 16
    u = -0.148 * red - 0.291 * green + 0.439 * blue + 128
    v = 0.439 * red - 0.368 * green - 0.071 * blue + 128
    raw = np.empty((6, 8, 2), np.uint8)
    raw[:, :, first_luma] = round(luma)
    raw[:, 0::2, 1 - first_luma] = round(u)
    raw[:, 1::2, 1 - first_luma] = round(v)
    data, step = padded(raw)
    image = decode_image(encoding, 6, 8, step, data)
    assert np.abs(image.astype(int) - RGB).max() <= 3


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ["nv12", "nv21", "nv24"])
def test_planes_of_brightness_and_colour_become_rgb(encoding, padding):
    """Red above, green below, each in its place."""
    bgr = np.zeros((8, 12, 3), np.uint8)
    bgr[:4, :, 2], bgr[4:, :, 1] = 220, 180
    luma, u, v = np.split(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420).ravel(), [96, 120])
    pairs = np.stack([v, u] if encoding == "nv21" else [u, v], axis=-1).reshape(4, 6, 2)
    if encoding == "nv24":
        pairs = pairs.repeat(2, axis=0).repeat(2, axis=1)
    rows = pairs.reshape(len(pairs), -1)
    wider = padding * rows.shape[1] // 12
    planes = (
        np.pad(luma.reshape(8, 12), ((0, 0), (0, padding)), constant_values=99),
        np.pad(rows, ((0, 0), (0, wider)), constant_values=99),
    )
    data = b"".join(plane.tobytes() for plane in planes)
    image = decode_image(encoding, 8, 12, 12 + padding, data)
    assert np.abs(image.astype(int) - bgr[..., ::-1]).max() <= 4
    with pytest.raises(InputError, match=rf"has {len(data) - 1} bytes; 12x8 {encoding}"):
        decode_image(encoding, 8, 12, 12 + padding, data[:-1])
    with pytest.raises(InputError, match="must be even"):
        decode_image(encoding, 7, 12, 12, data)
    with pytest.raises(InputError, match="step is 11; 12 pixels"):
        decode_image(encoding, 8, 12, 11, data)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_are_read_from_their_first_row(pattern):
    raw = np.empty((12, 12), np.uint8)
    for place, letter in enumerate(pattern):
        raw[place // 2 :: 2, place % 2 :: 2] = RGB["rgb".index(letter)]
    data, step = padded(raw)
    image = decode_image(f"bayer_{pattern}8", 12, 12, step, data)
    assert np.all(image[2:-2, 2:-2] == RGB)
    wide = (raw.astype(np.uint16) * 256).astype(">u2").tobytes()
    same = decode_image(f"bayer_{pattern}16", 12, 12, 24, wide, is_bigendian=True)
    assert np.array_equal(same, image)


def test_rgb8_is_not_copied():
    data = bytearray(flat(RGB).tobytes())
    image = decode_image("rgb8", 6, 8, 24, data)
    data[0] = 1
    assert image[0, 0, 0] == 1


def test_an_unknown_encoding_names_the_supported_ones():
    with pytest.raises(InputError, match=r"'32FC1' is not supported; supported: rgb8") as caught:
        decode_image("32FC1", 6, 8, 32, b"")
    assert all(encoding in str(caught.value) for encoding in ENCODINGS)


def test_sizes_that_do_not_fit_are_refused():
    data = flat(RGB).tobytes()
    with pytest.raises(InputError, match="step is 23; 8 pixels of rgb8 need at least 24"):
        decode_image("rgb8", 6, 8, 23, data)
    with pytest.raises(InputError, match="has 143 bytes; 8x6 rgb8 with step 24 needs 144"):
        decode_image("rgb8", 6, 8, 24, data[:-1])
    with pytest.raises(InputError, match="0x6 pixels in rgb8 is empty"):
        decode_image("rgb8", 6, 0, 24, data)
    with pytest.raises(InputError, match="width is 7; yuyv needs an even width"):
        decode_image("yuyv", 6, 7, 14, bytes(84))


@pytest.mark.parametrize(
    ("kind", "image_format"),
    [
        (".jpg", "jpeg"),
        (".png", "png"),
        (".jpg", "bgr8; jpeg compressed bgr8"),
        (".jpg", "rgb8; jpeg compressed bgr8"),
        (".png", "bgra8; png compressed bgr8"),
        (".jpg", "JPG"),
        (".jpg", "image/jpeg"),
        (".png", "image/png"),
        (".jpg", "mjpeg"),
        (".jpg", ""),
        (".png", ""),
    ],
)
def test_compressed_images_become_rgb(kind, image_format):
    _, data = cv2.imencode(kind, flat(RGB[::-1], 16, 16))
    image = decode_compressed(image_format, data.tobytes())
    assert image.shape == (16, 16, 3)
    assert np.abs(image.astype(int) - RGB).max() <= 3


def test_compressed_data_that_is_none_is_refused():
    with pytest.raises(InputError, match="'h264' is not supported; jpeg or png"):
        decode_compressed("h264", b"abc")
    with pytest.raises(InputError, match="compressedDepth"):
        decode_compressed("16UC1; compressedDepth png", b"abc")
    depth = cv2.imencode(".png", np.zeros((4, 4), np.uint16))[1].tobytes()
    with pytest.raises(InputError, match="compressedDepth"):
        decode_compressed("16UC1; compressedDepth png", depth)
    for data in (b"", b"not a picture"):
        with pytest.raises(InputError, match=f"{len(data)} bytes\\) .*cannot be decoded"):
            decode_compressed("jpeg", data)


def textured(height=240, width=320):
    """Without a row of one colour, so that one of it is the decoder's filling."""
    small = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    return cv2.resize(small, (width, height))


def jpeg(picture, **options):
    flags = [part for name in options for part in (getattr(cv2, f"IMWRITE_{name}"), options[name])]
    return cv2.imencode(".jpg", picture, flags)[1].tobytes()


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9", bytes(64)], ids=["nothing", "marker", "zeros"])
def test_a_jpeg_that_is_cut_off_is_refused_whatever_follows(share, end):
    whole = jpeg(textured())
    with pytest.raises(InputError, match="damaged or cut off"):
        decode_compressed("jpeg", whole[: int(len(whole) * share)] + end)


def test_a_progressive_jpeg_without_its_last_scans_is_refused():
    whole = jpeg(textured(), JPEG_PROGRESSIVE=1)
    with pytest.raises(InputError, match="damaged or cut off"):
        decode_compressed("jpeg", whole[: len(whole) // 2])


def test_the_end_marker_of_a_thumbnail_is_not_that_of_the_picture():
    whole, thumbnail = jpeg(textured()), jpeg(textured(16, 16))
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    with_thumbnail = whole[:2] + segment + whole[2:]
    assert decode_compressed("jpeg", with_thumbnail).shape == (240, 320, 3)
    with pytest.raises(InputError, match="damaged or cut off"):
        decode_compressed("jpeg", with_thumbnail[: len(with_thumbnail) // 2])


@pytest.mark.parametrize(
    "picture", [textured(), np.zeros((240, 320, 3), np.uint8)], ids=["textured", "black"]
)
@pytest.mark.parametrize(
    "end",
    [b"", b"\xff\xd9" + bytes(64), b"\xff\xd9\x12\x34\xff\xd9"],
    ids=["nothing", "marker, zeros", "marker, an older picture's end"],
)
def test_a_whole_jpeg_is_read_without_its_end_marker_and_with_a_padded_buffer(picture, end):
    whole = jpeg(picture)
    image = decode_compressed("jpeg", whole[:-2] + end)
    assert np.array_equal(image, decode_compressed("jpeg", whole))


def test_a_png_that_is_cut_off_is_refused():
    whole = cv2.imencode(".png", textured())[1].tobytes()
    with pytest.raises(InputError, match="damaged or cut off"):
        decode_compressed("png", whole[: len(whole) // 2])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_label_images_keep_their_numbers(dtype):
    labels = np.arange(48).reshape(6, 8).astype(dtype) * (300 if dtype == np.uint16 else 1)
    _, data = cv2.imencode(".png", labels)
    assert np.array_equal(decode_labels("mono8; png compressed", data.tobytes()), labels)
    _, colours = cv2.imencode(".png", flat(RGB))
    with pytest.raises(InputError, match="must be a grey PNG"):
        decode_labels("png", colours.tobytes())
